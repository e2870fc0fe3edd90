"""Forecasting against the series itself: inputs, targets, scores, and no leakage."""

import math

import numpy as np
import pytest

from rnnlab.errors import DataError
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.tasks.reference.naive import rmse_mae

SETTINGS = {"horizon": 3, "season": 6, "length": 20, "batch_size": 8, "valid": 0.2, "test": 0.2}


def values_of(steps=100, seed=0):
    rng = np.random.default_rng(seed)
    step = np.arange(steps)
    values = np.round(0.2 * step + 3 * np.sin(step) + rng.normal(size=steps), 3)
    values[rng.random(steps) < 0.2] = np.nan
    values[0] = np.nan
    return values


@pytest.fixture
def write(tmp_path):
    def write(values, name="series.csv", dates=None):
        path = tmp_path / name
        cells = ["" if math.isnan(x) else repr(float(x)) for x in values]
        rows = cells if dates is None else [f"{d},{c}" for d, c in zip(dates, cells, strict=True)]
        head = "x" if dates is None else "date,x"
        # "NA" where the row is one empty cell, which at the end of a file is nothing.
        path.write_text("\n".join([head, *(row or "NA" for row in rows)]) + "\n")
        return path

    return write


def last(values, t):
    return next((values[i] for i in range(t, -1, -1) if not math.isnan(values[i])), math.nan)


def level(values, t, season):
    while t >= 0:
        seen = [x for x in values[max(0, t - season + 1) : t + 1] if not math.isnan(x)]
        if seen:
            return sum(seen) / len(seen)
        t -= 1
    return math.nan


def oracle_inputs(values, train, season):
    """The inputs of each step by their definitions."""
    columns = [[], []]
    for t, x in enumerate(values):
        columns[0].append(x - level(values, t - 1, season))
        columns[1].append(x - last(values, t - 1))
    rows = []
    for column in columns:
        known = [x for x in column[:train] if not math.isnan(x)]
        mean = sum(known) / len(known)
        deviation = math.sqrt(sum((x - mean) ** 2 for x in known) / len(known))
        rows.append([0 if math.isnan(x) else (x - mean) / deviation for x in column])
    rows.append([float(math.isnan(x)) for x in values])
    since, waiting = [], 1
    for x in values:
        since.append(math.log(waiting))
        waiting = 1 if not math.isnan(x) else waiting + 1
    rows.append(since)
    for wave in (math.sin, math.cos):
        rows.append([wave(2 * math.pi * t / season) for t in range(len(values))])
    return np.array(rows).T


def oracle_targets(values, start, end, horizon):
    """x[t+h] - last[t] where origin and target are in start to end - 1."""
    targets = np.full((end, horizon), np.nan)
    for t in range(start, end):
        for h in range(1, horizon + 1):
            if t + h < end:
                targets[t, h - 1] = values[t + h] - last(values, t)
    return targets


@pytest.mark.parametrize("name", ["valid", "test"])
def test_eval_sets_equal_the_definition(write, name):
    values = values_of()
    data = Forecasting(write(values), **SETTINGS).load(seed=0)
    start, end = {"valid": (60, 80), "test": (80, 100)}[name]
    (batch,) = data.eval_sets[name]()
    np.testing.assert_allclose(
        batch.inputs[0], oracle_inputs(values, 60, 6)[:end], rtol=1e-4, atol=1e-5
    )
    wanted = oracle_targets(values, start, end, 3)
    np.testing.assert_allclose(batch.targets[0] * data.target_scale, wanted, rtol=1e-4, atol=1e-5)
    train = oracle_targets(values, 0, 60, 3)
    assert data.target_scale == pytest.approx(math.sqrt(np.nanmean(train**2)))


def test_training_windows_are_pieces_of_the_training_part(write):
    values = values_of()
    data = Forecasting(write(values), **SETTINGS).load(seed=0)
    inputs, targets = oracle_inputs(values, 60, 6), oracle_targets(values, 0, 60, 3)
    starts = set()
    for n in range(30):
        batch = data.train_batch(n)
        for x, y in zip(batch.inputs, batch.targets * data.target_scale, strict=True):
            near = [s for s in range(41) if np.allclose(inputs[s : s + 20], x, atol=1e-4)]
            assert len(near) == 1
            starts.add(near[0])
            np.testing.assert_allclose(y, targets[near[0] : near[0] + 20], rtol=1e-4, atol=1e-5)
    assert starts == set(range(41))


def test_earlier_parts_do_not_depend_on_later_parts(write):
    values = values_of()
    changed = values.copy()
    changed[80:] = 1e3 * np.arange(20)
    one = Forecasting(write(values), **SETTINGS).load(seed=0)
    two = Forecasting(write(changed, "changed.csv"), **SETTINGS).load(seed=0)
    for n in range(5):
        for x, y in zip(one.train_batch(n)[:2], two.train_batch(n)[:2], strict=True):
            np.testing.assert_array_equal(x, y)
    for x, y in zip(one.eval_sets["valid"](), two.eval_sets["valid"](), strict=True):
        np.testing.assert_array_equal(x.inputs, y.inputs)
        np.testing.assert_array_equal(x.targets, y.targets)
    assert one.target_scale == two.target_scale
    # And the same of validation against training.
    changed[60:80] = -7.0 * np.arange(20)
    three = Forecasting(write(changed, "more.csv"), **SETTINGS).load(seed=0)
    np.testing.assert_array_equal(one.train_batch(0).inputs, three.train_batch(0).inputs)
    np.testing.assert_array_equal(one.train_batch(0).targets, three.train_batch(0).targets)


def test_inputs_do_not_depend_on_later_time_steps(write):
    values = values_of()
    changed = values.copy()
    changed[90:] += 50
    rows = [
        next(iter(Forecasting(write(x, f"{k}.csv"), **SETTINGS).load(0).eval_sets["test"]()))
        for k, x in enumerate((values, changed))
    ]
    np.testing.assert_array_equal(rows[0].inputs[0, :90], rows[1].inputs[0, :90])
    assert (rows[0].inputs[0, 90:] != rows[1].inputs[0, 90:]).any()


def test_naive_baselines_use_the_scored_entries_of_the_test_set(write):
    """A model that answers 0 forecasts the last value, and so has the error of that baseline."""
    values = values_of()
    task = Forecasting(write(values), **SETTINGS)
    data = task.load(seed=0)
    (batch,) = data.eval_sets["test"]()
    zero = rmse_mae(np.zeros_like(batch.targets), batch.targets)
    naive = task.naive()["last value"]
    assert zero["rmse"] * data.target_scale == pytest.approx(naive["rmse"], rel=1e-5)
    assert zero["mae"] * data.target_scale == pytest.approx(naive["mae"], rel=1e-5)
    assert data.baselines()["last value"] == naive
    # The seasonal forecast by hand: the newest same place of the season that is observed.
    squares = []
    for t in range(80, 100):
        for h in (1, 2, 3):
            if t + h < 100 and not math.isnan(values[t + h]):
                past = [values[i] for i in range(t + h - 6, -1, -6) if not math.isnan(values[i])]
                squares.append((past[0] - values[t + h]) ** 2)
    assert data.baselines()["seasonal naive"]["rmse"] == pytest.approx(
        math.sqrt(sum(squares) / len(squares))
    )


def test_trend_stays_in_the_range_of_training(write):
    values = values_of(400)
    values += 5 * np.arange(400)
    data = Forecasting(write(values), **SETTINGS).load(seed=0)
    (batch,) = data.eval_sets["test"]()
    train = np.concatenate([data.train_batch(n).inputs.reshape(-1, 6) for n in range(9)])
    assert np.abs(batch.inputs).max() < 1.3 * np.abs(train).max()


def test_season_follows_from_the_dates(write):
    day = np.datetime64("2020-01-01")
    values = values_of(160)
    for step, season in (("h", 24), ("D", 7), ("W", 52)):
        dates = day.astype("datetime64[s]") + np.arange(160) * np.timedelta64(1, step)
        task = Forecasting(write(values, dates=dates), length=20, horizon=2)
        assert task.read_split().season == season
    months = np.datetime64("2001-01") + np.arange(160)
    dates = months.astype("datetime64[D]")
    assert Forecasting(write(values, dates=dates), length=20).read_split().season == 12
    assert Forecasting(write(values), length=20).read_split().season == 1
    assert Forecasting(write(values), length=20).load(seed=0).in_features == 4


@pytest.mark.parametrize(
    ("series", "steps", "gaps", "missing_from"),
    [("co2", 2284, 59, "statsmodels"), ("temperature", 1461, 0, "vega_datasets")],
)
def test_built_in_series_are_read(series, steps, gaps, missing_from):
    pytest.importorskip(missing_from)
    task = Forecasting(series=series)
    values = task.read_split().series.values[0, :, 0]
    assert (len(values), int(np.isnan(values).sum())) == (steps, gaps)
    data = task.load(seed=0)
    assert all(np.isfinite(list(f.values())).all() for f in data.baselines().values())
    for batch in (data.train_batch(0), *data.eval_sets["test"]()):
        assert np.isfinite(batch.inputs).all()
        assert batch.inputs.dtype == batch.targets.dtype == np.float32


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (
            values_of(30),
            {},
            r"must have >= length \+ horizon = 23 time steps to train on, got 18 of 30",
        ),
        (np.ones(100), {}, "column 'x': must vary in its training part, but is constant"),
        (np.full(100, 0.1), {}, "column 'x': must vary in its training part, but is constant"),
        (np.arange(100) * 1e200, {}, "column 'x': must be in 1e-100 to 1e100"),
        (
            np.where(np.arange(100) < 80, values_of(), np.nan),
            {},
            "value to forecast in its test part, time steps 80 to 99, got none",
        ),
        (
            np.where(np.arange(100) > 58, values_of(), np.nan),
            {},
            "value to forecast in its training part, time steps 0 to 59, got none",
        ),
        (values_of(), {"valid": 0.6, "test": 0.4}, "valid \\+ test must be < 1, got 0.6 \\+ 0.4"),
        (values_of(), {"horizon": 0}, "horizon must be an int >= 1, got 0"),
        (values_of(), {"season": 0}, "season must be an int >= 1, got 0"),
        (values_of(), {"test": 0.0}, "test must be a fraction in \\(0, 1\\), got 0.0"),
    ],
)
def test_forecasting_of_invalid_series_raises(write, values, options, message):
    with pytest.raises(ValueError, match=message) as raised:
        Forecasting(write(values), **(SETTINGS | options)).load(seed=0)
    assert "\n" not in str(raised.value)


def test_straight_line_is_not_scaled_by_rounding_errors(write):
    data = Forecasting(write(0.1 * np.arange(100)), **SETTINGS).load(seed=0)
    (batch,) = data.eval_sets["test"]()
    assert np.abs(batch.inputs).max() < 10


def test_forecasting_of_missing_file_raises_data_error(tmp_path):
    with pytest.raises(DataError, match=r"none.csv: cannot be read"):
        Forecasting(tmp_path / "none.csv").load(seed=0)


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


def test_panel_of_columns_equals_single_series_in_each_block(panel, write):
    task, values = panel
    data = task.load(seed=0)
    assert (data.in_features, data.out_features, data.target_scale) == (10, 6, 1.0)
    (batch,) = data.eval_sets["test"]()
    assert batch.inputs.shape == (2, 100, 10)
    dates = np.datetime64("2020-01-01") + np.arange(100)
    for c in range(2):
        single = Forecasting(write(values[0, :, c], dates=dates), **SETTINGS).load(seed=0)
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


def test_forecasts_of_the_test_part_have_its_error_and_follow_the_last_date(write):
    values = values_of()
    values[-1] = 2.0
    dates = np.datetime64("2020-01-01") + np.arange(100)
    task = Forecasting(write(values, dates=dates), **SETTINGS)
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


def test_forecasts_beyond_the_horizon_follow_from_forecasts(write):
    values = 0.5 * np.arange(100) + np.sin(np.arange(100))
    task = Forecasting(write(values), **SETTINGS)
    prepared = task.load(seed=0).preparation

    def rising(batch):  # one scale more at each step ahead
        return np.broadcast_to([1.0, 2.0, 3.0], batch.targets.shape)

    scale = task.load(seed=0).target_scale
    found = prepared.predict(rising, None, 7).columns["forecast"][-7:]
    np.testing.assert_allclose(found, values[-1] + scale * np.arange(1, 8))


def test_forecasts_of_a_file_of_an_array_and_of_a_frame_are_equal(write):
    pandas = pytest.importorskip("pandas")
    values = values_of()
    prepared = Forecasting(write(values), **SETTINGS).load(seed=0).preparation
    new = values_of(50, seed=7)
    path = write(new, "new.csv")
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


def test_forecasts_of_other_time_steps_raise(write):
    dates = np.datetime64("2020-01-01") + np.arange(100)
    prepared = Forecasting(write(values_of(), dates=dates), **SETTINGS).load(0).preparation
    weekly = write(values_of(), "weekly.csv", np.datetime64("2020-01-01") + 7 * np.arange(100))
    with pytest.raises(DataError, match=r"must have a time step of 1 days, .* got 7; resample"):
        prepared.predict(no_change, weekly, None)
    with pytest.raises(DataError, match="must have dates"):
        prepared.predict(no_change, values_of(), None)
    with pytest.raises(ValueError, match="horizon must be >= 1, got 0"):
        prepared.predict(no_change, None, 0)


def test_season_of_new_data_continues_that_of_the_training_data(write):
    dates = np.datetime64("2020-01-01") + np.arange(100)
    task = Forecasting(write(values_of(), dates=dates), **SETTINGS)
    prepared = task.load(seed=0).preparation
    whole = task.read_split().series
    (later,) = (x._replace(values=x.values[:, 5:], dates=x.dates[5:]) for x in (whole,))
    np.testing.assert_allclose(
        prepared.inputs(later)[0, :, -2:], prepared.inputs(whole)[0, 5:, -2:], atol=1e-6
    )
