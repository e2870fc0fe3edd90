"""Panels, covariates and forecasts, against single series and models of known outputs."""

import math

import numpy as np
import pytest
from series_examples import SETTINGS, last, values_of

from rnnlab.errors import DataError
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.tasks.reference.naive import rmse_mae


def table_of(panel, dates, columns="ab", covariate=None):
    """CSV text of a panel (series, time, columns), with its series as `s0`, `s1`, ..."""
    lines = [",".join(["date", "id", *columns, *(["open"] if covariate is not None else [])])]
    for k, series in enumerate(panel):
        for t, row in enumerate(series):
            if covariate is not None or not np.isnan(row).all():
                cells = ["" if math.isnan(x) else repr(float(x)) for x in row]
                cells += [repr(float(covariate[t]))] if covariate is not None else []
                lines.append(",".join([str(dates[t]), f"s{k}", *cells]))
    return "\n".join(lines) + "\n"


@pytest.fixture
def panel(tmp_path):
    """The task of two series of two columns, the second series shorter, and its values."""
    values = np.stack(
        [np.stack([values_of(seed=2 * k + c) for c in range(2)], axis=-1) for k in range(2)]
    )
    values[:, [0, -1]] = 1.0
    values[1, :30] = np.nan
    values[..., 1] *= 100
    dates = np.datetime64("2020-01-01") + np.arange(100)
    path = tmp_path / "panel.csv"
    path.write_text(table_of(values, dates))
    return Forecasting(path, column="a, b", series_id="id", **SETTINGS), values


def test_panel_of_columns_equals_single_series_in_each_block(panel, write_series):
    task, values = panel
    data = task.load(seed=0)
    assert (data.in_features, data.out_features, data.target_scale) == (10, 6, 1.0)
    (batch,) = data.eval_sets["test"]()
    assert batch.inputs.shape == (2, 100, 10)
    dates = np.datetime64("2020-01-01") + np.arange(100)
    for c in range(2):
        single = Forecasting(write_series(values[0, :, c], dates=dates), **SETTINGS).load(seed=0)
        (alone,) = single.eval_sets["test"]()
        block = batch.inputs[0, :, 4 * c : 4 * c + 4]
        np.testing.assert_allclose(block, alone.inputs[0, :, :4], rtol=1e-6)
        targets = batch.targets[0, :, 3 * c : 3 * c + 3]
        np.testing.assert_allclose(targets, alone.targets[0], rtol=1e-6)
    # A forecast of no change has the error of the last value, in the units of the targets.
    zero = rmse_mae(np.zeros_like(batch.targets), batch.targets)
    assert zero["rmse"] == pytest.approx(task.naive()["last value"]["rmse"], rel=1e-5)


def test_training_windows_of_a_panel_have_something_to_forecast(panel):
    data = panel[0].load(seed=0)
    for n in range(30):
        assert (~np.isnan(data.train_batch(n).targets)).any(axis=(1, 2)).all()


def test_known_covariates_are_inputs_before_their_time_step(tmp_path):
    values, steps = values_of(104), np.arange(104.0)
    values[-4:] = np.nan  # known covariates reach beyond the last value
    dates = np.datetime64("2020-01-01") + np.arange(104)
    path = tmp_path / "sales.csv"
    path.write_text(table_of(values[None, :, None], dates, "a", steps))
    options = {"column": "a", "series_id": "id", "calendar": False}
    task = Forecasting(path, known_covariates="open", **options, **SETTINGS)
    assert task.read_split().end == 100
    (known,) = task.load(seed=0).eval_sets["test"]()
    (past,) = (
        Forecasting(path, covariates="open", **options, **SETTINGS).load(0).eval_sets["valid"]()
    )
    assert (known.inputs.shape, past.inputs.shape[-1]) == ((1, 100, 7), 5)
    train = steps[:60]
    for h in (1, 2, 3):
        wanted = (steps[h : 100 + h] - train.mean()) / train.std()
        np.testing.assert_allclose(known.inputs[0, :, 3 + h], wanted, rtol=1e-5)
    train = steps[:62]  # here the lines after the last value are gaps
    wanted = (steps[: past.inputs.shape[1]] - train.mean()) / train.std()
    np.testing.assert_allclose(past.inputs[0, :, 4], wanted, rtol=1e-4, atol=1e-6)


def test_forecasts_use_known_covariates_after_the_last_value(tmp_path):
    values, steps = values_of(110), np.arange(110) % 5.0
    values[-11:] = np.nan
    values[-12] = 1.0
    dates = np.datetime64("2020-01-01") + np.arange(110)
    path = tmp_path / "sales.csv"
    path.write_text(table_of(values[None, :, None], dates, "a", steps))
    options = {"column": "a", "series_id": "id", "calendar": False, "known_covariates": "open"}
    prepared = Forecasting(path, **options, **SETTINGS).load(seed=0).preparation

    def covariates(batch):  # a model that forecasts the change by its known covariates
        return batch.inputs[..., 4:7]

    for horizon, sentence in ((3, False), (9, False), (12, True)):
        found = prepared.predict(covariates, None, horizon)
        assert ("replaced by their mean" in found.summary) == sentence
    forecast = prepared.predict(covariates, None, 9).columns["forecast"][-9:]
    scale, (mean, deviation) = prepared.target_scales[0, 0], prepared.known_covariates[0]
    wanted, level = [], 1.0
    for first in (99, 102, 105):
        wanted += (level + scale * (steps[first : first + 3] - mean) / deviation).tolist()
        level = wanted[-1]
    np.testing.assert_allclose(forecast, wanted, rtol=1e-5)


def no_change(batch):
    """A model that forecasts the last observed value."""
    return np.zeros(batch.targets.shape)


def test_forecasts_of_the_test_part_have_its_error_and_follow_the_last_date(write_series):
    values = values_of()
    values[-1] = 2.0
    dates = np.datetime64("2020-01-01") + np.arange(100)
    task = Forecasting(write_series(values, dates=dates), **SETTINGS)
    data = task.load(seed=0)
    found = data.preparation.predict(no_change, None, None)
    columns = found.columns
    future = np.isnan(columns["actual"]) & (columns["origin"] >= np.datetime64("2020-04-07"))
    assert columns["date"][-1] == np.datetime64("2020-04-12")
    assert columns["steps_ahead"][-3:].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(columns["forecast"][-3:], last(values, 99))
    assert future[-3:].all()
    # Every time step of the test part is forecast once, from at most three steps before.
    made = dict(zip(columns["date"], columns["forecast"], strict=True))
    assert len(made) == len(found)
    steps = (columns["date"] - np.datetime64("2020-01-01")).astype("timedelta64[D]").astype(int)
    assert set(range(82, 103)) <= set(steps.tolist())
    for t, origin, x in zip(steps, columns["origin"], columns["forecast"], strict=True):
        start = int((origin - np.datetime64("2020-01-01")) / np.timedelta64(1, "D"))
        assert 1 <= t - start <= 3
        assert x == pytest.approx(last(values, start))
    assert "RMSE" in found.summary


def test_forecasts_beyond_the_horizon_follow_from_forecasts(write_series):
    values = 0.5 * np.arange(100) + np.sin(np.arange(100))
    task = Forecasting(write_series(values), **SETTINGS)
    prepared = task.load(seed=0).preparation

    def rising(batch):  # one scale more at each step ahead
        return np.broadcast_to([1.0, 2.0, 3.0], batch.targets.shape)

    scale = task.load(seed=0).target_scale
    found = prepared.predict(rising, None, 7).columns["forecast"][-7:]
    np.testing.assert_allclose(found, values[-1] + scale * np.arange(1, 8))


def test_forecasts_of_a_file_of_an_array_and_of_a_frame_are_equal(write_series):
    pandas = pytest.importorskip("pandas")
    values = values_of()
    prepared = Forecasting(write_series(values), **SETTINGS).load(seed=0).preparation
    new = values_of(50, seed=7)
    path = write_series(new, "new.csv")
    wanted = prepared.predict(no_change, path, None)
    for source in (str(path), new, pandas.DataFrame({"x": new})):
        assert prepared.predict(no_change, source, None).to_csv() == wanted.to_csv()


def test_forecasts_of_a_panel_name_series_and_column_and_accept_new_ones(panel, tmp_path):
    task, values = panel
    prepared = task.load(seed=0).preparation
    found = prepared.predict(no_change, None, 2).columns
    assert set(found["series"]) == {"s0", "s1"}
    last_rows = {
        (s, c): x
        for s, c, x in zip(found["series"], found["column"], found["forecast"], strict=True)
    }
    assert last_rows["s1", "b"] == last(values[1, :, 1].tolist(), 99)
    path = tmp_path / "new.csv"
    dates = np.datetime64("2021-01-01") + np.arange(40)
    path.write_text(table_of(values[:1, 60:], dates).replace("s0", "new"))
    assert set(prepared.predict(no_change, path, None).columns["column"]) == {"a", "b"}


def test_forecasts_of_a_file_without_the_column_name_no_option_of_the_training(write_series):
    data = Forecasting(write_series(values_of()), **SETTINGS).load(seed=0)
    other = write_series(values_of(), "other.csv")
    other.write_text(other.read_text().replace("x", "y", 1))
    with pytest.raises(DataError, match=r"has no column 'x'; choose one of 'y'$"):
        data.preparation.predict(None, other, None)


def test_forecasts_of_other_time_steps_raise(write_series):
    dates = np.datetime64("2020-01-01") + np.arange(100)
    prepared = Forecasting(write_series(values_of(), dates=dates), **SETTINGS).load(0).preparation
    weekly = write_series(
        values_of(), "weekly.csv", np.datetime64("2020-01-01") + 7 * np.arange(100)
    )
    with pytest.raises(DataError, match=r"must have a time step of 1 days, .* got 7; resample"):
        prepared.predict(no_change, weekly, None)
    with pytest.raises(DataError, match="must have dates"):
        prepared.predict(no_change, values_of(), None)
    with pytest.raises(ValueError, match="horizon must be >= 1, got 0"):
        prepared.predict(no_change, None, 0)


def test_season_of_new_data_continues_that_of_the_training_data(write_series):
    dates = np.datetime64("2020-01-01") + np.arange(100)
    task = Forecasting(write_series(values_of(), dates=dates), **SETTINGS)
    prepared = task.load(seed=0).preparation
    whole = task.read_split().series
    (later,) = (x._replace(values=x.values[:, 5:], dates=x.dates[5:]) for x in (whole,))
    np.testing.assert_allclose(
        prepared.inputs(later)[0, :, -2:], prepared.inputs(whole)[0, 5:, -2:], atol=1e-6
    )
