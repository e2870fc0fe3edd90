"""Forecasting against the series itself: inputs, targets, scores, and no leakage."""

import math
from importlib.util import find_spec

import numpy as np
import pytest
from series_examples import PARTS, SETTINGS, last, values_of

from rnnlab.errors import DataError
from rnnlab.tasks.forecasting import NORMALIZATIONS, Forecasting
from rnnlab.tasks.reference.naive import rmse_mae


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
def test_eval_sets_equal_the_definition(write_series, name):
    values = values_of()
    data = Forecasting(write_series(values), **SETTINGS).load(seed=0)
    start, end = {"valid": (60, 80), "test": (80, 100)}[name]
    (batch,) = data.eval_sets[name]()
    np.testing.assert_allclose(
        batch.inputs[0], oracle_inputs(values, 60, 6)[:end], rtol=1e-4, atol=1e-5
    )
    wanted = oracle_targets(values, start, end, 3)
    np.testing.assert_allclose(batch.targets[0] * data.target_scale, wanted, rtol=1e-4, atol=1e-5)
    train = oracle_targets(values, 0, 60, 3)
    assert data.target_scale == pytest.approx(math.sqrt(np.nanmean(train**2)))


def test_training_windows_are_pieces_of_the_training_part(write_series):
    values = values_of()
    data = Forecasting(write_series(values), **SETTINGS).load(seed=0)
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


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_earlier_parts_do_not_depend_on_later_parts(write_series, normalization):
    values, settings = values_of(), SETTINGS | {"normalization": normalization}
    changed = values.copy()
    changed[80:] = 1e3 * np.arange(20)
    one = Forecasting(write_series(values), **settings).load(seed=0)
    two = Forecasting(write_series(changed, "changed.csv"), **settings).load(seed=0)
    for n in range(5):
        for x, y in zip(one.train_batch(n)[:2], two.train_batch(n)[:2], strict=True):
            np.testing.assert_array_equal(x, y)
    for x, y in zip(one.eval_sets["valid"](), two.eval_sets["valid"](), strict=True):
        np.testing.assert_array_equal(x.inputs, y.inputs)
        np.testing.assert_array_equal(x.targets, y.targets)
    assert one.target_scale == two.target_scale
    # And the same of validation against training, unless the validation part chooses.
    changed[60:80] = -7.0 * np.arange(20)
    if normalization == "auto":
        return
    three = Forecasting(write_series(changed, "more.csv"), **settings).load(seed=0)
    np.testing.assert_array_equal(one.train_batch(0).inputs, three.train_batch(0).inputs)
    np.testing.assert_array_equal(one.train_batch(0).targets, three.train_batch(0).targets)


def test_inputs_do_not_depend_on_later_time_steps(write_series):
    values = values_of()
    changed = values.copy()
    changed[90:] += 50
    rows = [
        next(iter(Forecasting(write_series(x, f"{k}.csv"), **SETTINGS).load(0).eval_sets["test"]()))
        for k, x in enumerate((values, changed))
    ]
    np.testing.assert_array_equal(rows[0].inputs[0, :90], rows[1].inputs[0, :90])
    assert (rows[0].inputs[0, 90:] != rows[1].inputs[0, 90:]).any()


def test_naive_baselines_use_the_scored_entries_of_the_test_set(write_series):
    """A model that answers 0 forecasts the last value, and so has the error of that baseline."""
    values = values_of()
    task = Forecasting(write_series(values), **SETTINGS)
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


def test_trend_stays_in_the_range_of_training(write_series):
    values = values_of(400)
    values += 5 * np.arange(400)
    data = Forecasting(write_series(values), **SETTINGS).load(seed=0)
    (batch,) = data.eval_sets["test"]()
    train = np.concatenate([data.train_batch(n).inputs.reshape(-1, 6) for n in range(9)])
    assert np.abs(batch.inputs).max() < 1.3 * np.abs(train).max()


def test_season_follows_from_the_dates(write_series):
    day = np.datetime64("2020-01-01")
    values = values_of(160)
    for step, season in (("h", 24), ("D", 7), ("W", 52)):
        dates = day.astype("datetime64[s]") + np.arange(160) * np.timedelta64(1, step)
        task = Forecasting(write_series(values, dates=dates), length=20, horizon=2)
        assert task.read_split().season == season
    months = np.datetime64("2001-01") + np.arange(160)
    dates = months.astype("datetime64[D]")
    assert Forecasting(write_series(values, dates=dates), length=20).read_split().season == 12
    assert Forecasting(write_series(values), length=20).read_split().season == 1
    assert Forecasting(write_series(values), length=20).load(seed=0).in_features == 6


def test_notes_describe_the_file(tmp_path):
    path = tmp_path / "a.csv"
    days = np.datetime64("2024-01-01") + np.arange(90)
    rows = [f"{day};{k % 5},5;{k % 3};x" for k, day in enumerate(days)]
    path.write_text("\n".join(["day;price;holiday;comment", *rows]))
    task = Forecasting(path, "price", known_covariates="holiday", horizon=2, length=12)
    missing = (
        "statsmodels is not installed, so that results lack the baselines ETS and ARIMA; run "
        "`pip install 'rnnlab[data]'`.",
    )
    assert task.load(seed=0).notes == (
        "Cells are separated by semicolons.",
        "a.csv: 1 series of 90 time steps from 2024-01-01 to 2024-03-30, one every day (column "
        "'day'): 62 to train on, 14 to validate, 14 to test. Forecast: price, the next 2 time "
        "steps. Training windows: 12 time steps. Season: 7 time steps (from the dates). "
        "Normalization: difference. Further inputs: holiday. Unused columns: comment.",
        *(() if find_spec("statsmodels") else missing),
    )
    path.write_text("price\n" + "NA\n" + "1\n2\n" * 45)
    note, *others = Forecasting(path, horizon=1, length=12, calendar=False).load(seed=0).notes
    assert others == [*(() if find_spec("statsmodels") else missing)]
    assert "1 series of 91 time steps without dates: " in note
    assert note.endswith(
        "Season: none (--data.season sets one). Normalization: window. Missing values: 1 of 91."
    )


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
def test_forecasting_of_invalid_series_raises(write_series, values, options, message):
    with pytest.raises(ValueError, match=message) as raised:
        Forecasting(write_series(values), **(SETTINGS | options)).load(seed=0)
    assert "\n" not in str(raised.value)


def test_fingerprints_of_series_normalization_are_those_of_earlier_versions(write_series):
    single = Forecasting(write_series(values_of()), **SETTINGS).load(seed=0)
    assert single.fingerprint.startswith("a8294fc8cb88635c")
    renamed = Forecasting(write_series(values_of(), "other.csv"), **PARTS).load(seed=0)
    assert renamed.fingerprint != single.fingerprint


@pytest.mark.parametrize("normalization", ["window", "seasonal"])
def test_straight_line_is_finite_with_its_own_spread(write_series, normalization):
    task = Forecasting(
        write_series(0.1 * np.arange(100)), **PARTS, normalization=normalization
    ).load(0)
    for batch in (task.train_batch(0), *task.eval_sets["test"]()):
        assert np.nanmax(np.abs(batch.inputs)) <= 10
        assert np.nanmax(np.abs(batch.targets)) < 10


def test_straight_line_is_not_scaled_by_rounding_errors(write_series):
    data = Forecasting(write_series(0.1 * np.arange(100)), **SETTINGS).load(seed=0)
    (batch,) = data.eval_sets["test"]()
    assert np.abs(batch.inputs).max() < 10


def test_forecasting_of_missing_file_raises_data_error(tmp_path):
    with pytest.raises(DataError, match=r"none.csv: cannot be read"):
        Forecasting(tmp_path / "none.csv").load(seed=0)
