"""One model of many series, on small generated tables."""

import csv

import numpy as np
import pytest

from rnnlab.errors import DataError
from rnnlab.heads import StudentT
from rnnlab.tasks.many_series import LEVELS, ManySeries
from rnnlab.tasks.reference.forecast_scores import SCORES, seasonal_scale

SEASON, CONTEXT, HORIZON = 4, 8, 6


def series(count=5, length=70):
    rng = np.random.default_rng(0)
    t = np.arange(length)
    return [
        10.0**k * (5 + np.sin(2 * np.pi * t / SEASON) + t / 50 + 0.1 * rng.normal(size=length))
        for k in range(count)
    ]


@pytest.fixture
def task_of(tmp_path):
    """Returns a function that writes series and returns the task of them."""

    def make(values, **settings):
        path = tmp_path / "series.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["name", *range(len(values[0]))])
            writer.writerows([f"s{k}", *map(repr, x.tolist())] for k, x in enumerate(values))
        sizes = {"season": SEASON, "context": CONTEXT, "horizon": HORIZON, "batch_size": 3}
        return ManySeries(path, **{**sizes, **settings})

    return make


def evaluated(data, name, outputs_of):
    pairs = []
    for batch in data.eval_sets[name]():
        pairs += data.decode(outputs_of(batch), batch)
    return pairs


def exact_outputs(data):
    """Outputs whose median is the target, with narrow quantiles."""
    offset = LEVELS.index(0.5)

    def outputs(batch):
        shape = (*batch.inputs.shape[:2], HORIZON, len(LEVELS))
        by_level = np.full(shape, -12.0, np.float32)
        step = np.log1p(np.exp(-12.0))
        by_level[..., 0] = np.nan_to_num(batch.targets) - offset * step
        return by_level.reshape(*shape[:2], -1)

    return outputs


def test_targets_and_decoding_are_inverse_to_each_other(task_of):
    values = series()
    data = task_of(values).load(0)
    for name, stop in (("valid", -HORIZON), ("test", None)):
        pairs = evaluated(data, name, exact_outputs(data))
        assert len(pairs) == len(values)
        for (forecast, outcome), x in zip(pairs, values, strict=True):
            wanted = x[: len(x) if stop is None else stop][-HORIZON:]
            np.testing.assert_array_equal(outcome.values, wanted)
            np.testing.assert_allclose(forecast.at(0.5), wanted, rtol=1e-4)


def test_outcomes_are_scaled_by_the_values_before_them(task_of):
    values = series()
    data = task_of(values).load(0)
    pairs = evaluated(data, "test", exact_outputs(data))
    for (_, outcome), x in zip(pairs, values, strict=True):
        assert outcome.scale == pytest.approx(seasonal_scale(x[:-HORIZON], SEASON))


def test_a_window_reads_no_value_after_the_step_from_which_it_forecasts(task_of):
    """Inputs before a changed value, the scale and the naive forecasts stay."""
    task, x = task_of(series()), series()[2][:50]
    window = task._window(x)
    for later in range(1, CONTEXT):
        changed = x.copy()
        changed[-later:] += 1e6
        other = task._window(changed)
        assert other.scale == window.scale
        np.testing.assert_array_equal(other.inputs[:-later], window.inputs[:-later])
        np.testing.assert_array_equal(other.naive[:-later], window.naive[:-later])


def test_only_the_second_part_of_a_window_is_scored(task_of):
    batch = task_of(series()).load(0).train_batch(0)
    known = ~np.isnan(batch.targets)
    assert not known[:, : CONTEXT - 1].any()
    assert known[:, CONTEXT - 1 : -HORIZON].all()


def test_a_constant_in_the_test_values_changes_no_training_number(task_of):
    values = series()
    planted = [np.append(x[:-HORIZON], np.full(HORIZON, 1e9)) for x in values]
    clean, changed = task_of(values).load(0), None
    batches = [clean.train_batch(n) for n in range(5)]
    changed = task_of(planted).load(0)
    for n, batch in enumerate(batches):
        for a, b in zip(batch[:2], changed.train_batch(n)[:2], strict=True):
            np.testing.assert_array_equal(a, b)
    assert clean.fingerprint != changed.fingerprint


def test_a_constant_in_the_validation_values_changes_no_training_number(task_of):
    values = series()
    planted = [x.copy() for x in values]
    for x in planted:
        x[-2 * HORIZON : -HORIZON] = 1e9
    first = task_of(values).load(0)
    batches = [first.train_batch(n) for n in range(5)]
    second = task_of(planted).load(0)
    for n, batch in enumerate(batches):
        for a, b in zip(batch[:2], second.train_batch(n)[:2], strict=True):
            np.testing.assert_array_equal(a, b)


def test_training_batches_depend_on_seed_and_number_only(task_of):
    task = task_of(series())
    first, again, other = task.load(0), task.load(0), task.load(1)
    np.testing.assert_array_equal(first.train_batch(3).inputs, again.train_batch(3).inputs)
    assert (first.train_batch(3).inputs != other.train_batch(3).inputs).any()


def test_baselines_are_scored_by_every_metric(task_of):
    data = task_of(series()).load(0)
    for scores in data.baselines().values():
        assert set(scores) == set(data.metrics) == set(SCORES)


def test_head_may_be_a_student_t_distribution(task_of):
    data = task_of(series(), head="student_t").load(0)
    assert isinstance(data.loss, StudentT)
    shape = data.out_features
    pairs = evaluated(data, "test", lambda b: np.zeros((*b.inputs.shape[:2], shape), np.float32))
    for forecast, _ in pairs:
        assert (np.diff(forecast.quantiles, axis=-1) > 0).all()


def test_short_series_and_wrong_settings_are_an_error(task_of):
    with pytest.raises(DataError, match=r"series.csv: must have >= 30 values per series .* got 20"):
        task_of(series(length=26)).load(0)
    with pytest.raises(ValueError, match="context must be a multiple of season 4, got 10"):
        task_of(series(), context=10)
