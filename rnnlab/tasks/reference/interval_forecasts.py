"""Naive forecasts of many series, with normal intervals."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from rnnlab.tasks.reference.forecast_scores import SCORES, Forecast, Outcome
from rnnlab.tasks.reference.naive import seasonal_naive


def with_normal_intervals(
    values: np.ndarray, horizon: int, season: int, levels: Sequence[float]
) -> Forecast:
    """Forecasts the value of the last season, with a normal distribution around it.

    Its deviation is that of the seasonal differences, and grows with the root of the number of
    seasons ahead, as for a seasonal random walk.

    Args:
      values: (time,), without NaN.
      horizon: values ahead.
      season: time steps of a season.
      levels: of the quantiles.

    >>> forecast = with_normal_intervals(np.array([1.0, 3.0, 2.0, 4.0]), 3, 2, (0.5,))
    >>> forecast.quantiles[:, 0].tolist()
    [2.0, 4.0, 2.0]
    """
    seasons = -(-np.arange(1, horizon + 1) // season)
    median = seasonal_naive(values[-season:], horizon, season)[-1]
    deviation = np.sqrt(np.mean(np.square(values[season:] - values[:-season])))
    spread = norm.ppf(np.array(levels)) * deviation
    return Forecast(median[:, None] + np.sqrt(seasons)[:, None] * spread, tuple(levels))


def scores(
    past: Sequence[np.ndarray],
    outcomes: Sequence[Outcome],
    horizon: int,
    seasons: Sequence[int],
    levels: Sequence[float],
) -> dict[str, dict[str, float]]:
    """Returns the scores of the naive forecast of each season, by name.

    Args:
      past: the series until their forecasts.
      outcomes: what follows.
      horizon: values ahead.
      seasons: lengths of a season.
      levels: of the quantiles.
    """
    found = {}
    for season in seasons:
        forecasts = [with_normal_intervals(values, horizon, season, levels) for values in past]
        name = f"seasonal naive, {season} steps"
        found[name] = {metric: f(forecasts, outcomes) for metric, f in SCORES.items()}
    return found
