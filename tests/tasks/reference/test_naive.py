"""Naive forecasts against a backward search from each origin."""

import math

import numpy as np
import pytest

from rnnlab.tasks.reference.naive import last_observed, last_value, rmse_mae, seasonal_naive


def series(steps, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=steps)
    values[rng.random(steps) < 0.4] = np.nan
    return values


def newest(values, t):
    return next((values[i] for i in range(t, -1, -1) if not math.isnan(values[i])), math.nan)


def seasonal(values, t, h, season):
    for i in range(t + h - season, -1, -season):
        if i <= t and not math.isnan(values[i]):
            return values[i]
    return newest(values, t)


@pytest.mark.parametrize("season", [1, 2, 5, 30])
@pytest.mark.parametrize("horizon", [1, 4, 7])
def test_forecasts_equal_backward_search(season, horizon):
    values = series(23, season)
    steps = range(len(values))
    wanted = [[newest(values, t)] * horizon for t in steps]
    np.testing.assert_array_equal(last_value(values, horizon), wanted)
    wanted = [[seasonal(values, t, h, season) for h in range(1, horizon + 1)] for t in steps]
    np.testing.assert_array_equal(seasonal_naive(values, horizon, season), wanted)


def test_forecasts_do_not_read_after_the_origin():
    values = series(40)
    changed = values.copy()
    changed[20:] = 100.0
    for forecast in (
        lambda x: last_value(x, 5),
        lambda x: seasonal_naive(x, 5, 4),
        lambda x: last_observed(x)[:, None],
    ):
        np.testing.assert_array_equal(forecast(values)[:20], forecast(changed)[:20])
        assert (forecast(changed)[20:] == 100).any()


def test_rmse_mae_ignores_unscored_entries():
    actual = np.array([[1.0, np.nan], [4.0, 2.0]])
    forecast = np.array([[0.0, 9.0], [4.0, 4.0]])
    assert rmse_mae(forecast, actual) == {"rmse": pytest.approx(math.sqrt(5 / 3)), "mae": 1.0}
    with pytest.raises(ValueError, match="actual must have an entry"):
        rmse_mae(forecast, np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="forecast must not be NaN where actual"):
        rmse_mae(np.full((2, 2), np.nan), actual)
