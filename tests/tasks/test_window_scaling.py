"""Scaling by the past of each time step: its definition, no leakage, and errors in data units."""

import functools
import math

import numpy as np
import pytest
from series_examples import PARTS, values_of

from rnnlab.tasks import normalization_choice
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.tasks.normalization_choice import choose_normalization
from rnnlab.tasks.reference.naive import rmse_mae
from rnnlab.tasks.series_features import ahead, within
from rnnlab.tasks.window_scaling import window_inputs, window_scaling
from rnnlab.train.evaluate import evaluate

WINDOWS = ["window", "difference", "seasonal"]


def level_at(values, t, season):
    while t >= 0:
        seen = [x for x in values[max(0, t - season + 1) : t + 1] if not math.isnan(x)]
        if seen:
            return sum(seen) / len(seen)
        t -= 1
    return math.nan


def spread_at(values, levels, t, season):
    seen = [
        (values[u] - levels[u]) ** 2
        for u in range(max(0, t - 2 * season + 1), t + 1)
        if not math.isnan(values[u])
    ]
    return math.sqrt(sum(seen) / len(seen))


def test_window_scaling_equals_the_definition():
    values, season, horizon, t = values_of(80), 6, 8, 70
    found = window_scaling(values, horizon, season, "seasonal")
    levels = [level_at(values, u, season) for u in range(80)]
    assert found.level[t] == pytest.approx(levels[t])
    spread = spread_at(values, levels, t, season)
    assert found.spread[t] == pytest.approx(spread)
    slope = levels[t] - levels[t - season]
    assert found.slope[t] == pytest.approx(slope)
    for h in range(1, horizon + 1):
        newest = t + h - season * math.ceil(h / season)
        past = [
            (values[u] - levels[u]) / spread_at(values, levels, u, season)
            for u in (newest, newest - season, newest - 2 * season)
            if not math.isnan(values[u])
        ]
        wanted = levels[t] + spread * sum(past) / len(past) + 0.5 * slope * h / season
        assert found.base[t, h - 1] == pytest.approx(wanted)


@pytest.mark.parametrize("normalization", WINDOWS)
@pytest.mark.parametrize("season", [1, 6])
def test_window_scaling_ignores_later_values(normalization, season):
    values = values_of(80)
    whole = window_scaling(values, 3, season, normalization)
    inputs = window_inputs(values, whole)
    for t in (0, 1, 5, 12, 40, 78):
        planted = values.copy()
        planted[t + 1 :] = 1e9
        found = window_scaling(planted, 3, season, normalization)
        for one, other in zip(whole, found, strict=True):
            np.testing.assert_array_equal(one[: t + 1], other[: t + 1])
        np.testing.assert_array_equal(window_inputs(planted, found)[: t + 1], inputs[: t + 1])


@pytest.mark.parametrize("normalization", WINDOWS)
def test_training_batches_ignore_a_planted_constant_after_their_time_steps(
    write_series, normalization
):
    """Inputs, and targets of values before the constant, are those without it, also in training."""
    values = values_of()
    planted = values.copy()
    planted[40:] = 1e9
    planted[41] = 2e9  # not constant in later parts, which must have something to forecast
    planted[60::2] = 3e9
    settings = PARTS | {"normalization": normalization, "length": 60, "horizon": 3, "valid": 0.15}
    one, two = (
        Forecasting(write_series(x, f"{k}.csv"), **settings).load(seed=0)
        for k, x in enumerate((values, planted))
    )
    for n in range(3):
        for x, y, a, b in zip(*one.train_batch(n)[:2], *two.train_batch(n)[:2], strict=True):
            same = (x == a).all(axis=1)
            first = len(same) if same.all() else int(np.argmin(same))
            assert first >= 34  # windows start at 0 to 5, and time step 40 is the first other one
            np.testing.assert_array_equal(y[: first - 3], b[: first - 3])


@pytest.mark.parametrize("normalization", WINDOWS)
def test_scaled_series_has_the_same_inputs_and_targets(write_series, normalization):
    values = values_of()
    settings = PARTS | {"normalization": normalization}
    one, two = (
        Forecasting(write_series(x, f"{k}.csv"), **settings).load(seed=0)
        for k, x in enumerate((values, 4096 * values))
    )
    np.testing.assert_allclose(one.train_batch(0).inputs, two.train_batch(0).inputs, atol=1e-5)
    np.testing.assert_allclose(one.train_batch(0).targets, two.train_batch(0).targets, rtol=1e-4)


@pytest.mark.parametrize("normalization", WINDOWS)
def test_errors_are_in_the_units_of_the_data(write_series, normalization):
    """A model that answers 0 has the error of the base, as metric and as prediction."""
    values = values_of()
    values[-1] = 2.0
    task = Forecasting(write_series(values), **PARTS, normalization=normalization)
    data = task.load(seed=0)
    base = window_scaling(values, 3, 6, normalization).base
    actual = within(ahead(values, 3), 3, 80, 100)
    wanted = rmse_mae(base, actual)

    def zero(params, batch):
        return np.zeros(batch.targets.shape)

    found = evaluate(zero, None, data, data.eval_sets["test"]())
    assert found == pytest.approx(wanted, rel=1e-5)
    naive = {"window": "last value", "difference": "seasonal naive"}
    if normalization in naive:
        assert found == pytest.approx(task.naive()[naive[normalization]], rel=1e-5)
    made = data.preparation.predict(functools.partial(zero, None), None, None).columns
    for origin, step, x in zip(made["origin"], made["steps_ahead"], made["forecast"], strict=True):
        assert x == pytest.approx(base[origin, step - 1])


def test_panel_is_scaled_series_by_series(tmp_path):
    values = np.stack([values_of(seed=1), 1000 * values_of(seed=2) + 5000], axis=1)
    lines = [f"{s},{'' if math.isnan(x) else x}" for row in values for s, x in enumerate(row)]
    path = tmp_path / "panel.csv"
    path.write_text("id,x\n" + "\n".join(lines) + "\n")
    task = Forecasting(path, series_id="id", column="x", **PARTS, normalization="seasonal")
    data = task.load(seed=0)
    (batch,) = data.eval_sets["test"]()
    scales = data.relative_scales(batch)
    assert scales.shape == batch.targets.shape
    base, scale = data.preparation.references(task.read_split().series)
    constant = data.preparation.target_scales[:2, 0]
    np.testing.assert_allclose(scales[..., 0] * constant[:, None], scale[..., 0])
    alone = window_scaling(values[:, 1], 3, 6, "seasonal")
    np.testing.assert_array_equal(base[1, :, 0], alone.base)
    assert (~np.isnan(data.train_batch(0).targets)).any(axis=(1, 2)).all()


def test_normalization_is_chosen_by_the_validation_part(write_series):
    step, rng = np.arange(200), np.random.default_rng(0)
    seasonal = (50 + step) * (1 + 0.5 * np.sin(2 * np.pi * step / 6)) + rng.normal(size=200)
    walk = np.cumsum(rng.normal(size=200))
    for values, wanted in ((seasonal, "seasonal"), (walk, "window")):
        task = Forecasting(write_series(values), **PARTS)
        split = task.read_split()
        prepare = functools.partial(task._prepare, split)
        assert choose_normalization(split, prepare) == wanted
        assert wanted in task.load(seed=0).notes[0]
        changed = split.series.values.copy()
        changed[:, split.boundaries[1] :] = 1e6
        other = split._replace(series=split.series._replace(values=changed))
        assert choose_normalization(other, functools.partial(task._prepare, other)) == wanted


@pytest.mark.parametrize(
    ("season", "series", "wanted"),
    [(6, 0.96, "difference"), (6, 0.94, "series"), (1, 1.0, "window")],
)
def test_scaling_by_the_training_part_is_chosen_by_a_margin(
    write_series, monkeypatch, season, series, wanted
):
    errors = {"window": 1.02, "difference": 1.0, "seasonal": 1.1, "series": series}
    monkeypatch.setattr(normalization_choice, "linear_error", lambda split, name: errors[name])
    split = Forecasting(write_series(values_of()), **PARTS | {"season": season}).read_split()
    assert choose_normalization(split, lambda name: name) == wanted
