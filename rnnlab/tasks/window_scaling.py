"""Level, spread and seasonal forecast of a series at each time step, from its own past only.

Nothing here depends on a later value, on another series or on a training part: the values at time
step t are a function of values[:t+1], with NaN where they are not known yet.
"""

from typing import Literal, NamedTuple

import numpy as np

from rnnlab.tasks.reference.naive import last_value, seasonal_naive
from rnnlab.tasks.series_features import previous, steps_since_observed, trailing_mean

DEFAULT_SPAN = 12
"""Time steps of the level where there is no season."""

SPREAD_SEASONS = 2
"""Seasons of the spread."""

PROFILE_SEASONS = 3
"""Seasons over which a seasonal profile is averaged."""

TREND_SHARE = 0.5
"""Share of the last season's trend that the seasonal forecast continues."""

MAX_INPUT = 10.0
"""Bound of scaled inputs, which a jump of a series would exceed."""

WINDOW_INPUTS = 6
"""Number of inputs per column."""


class WindowScaling(NamedTuple):
    """Level, spread, trend and base of forecasts of each time step.

    Attributes:
      level: (time,) mean of the last season, or of the last `DEFAULT_SPAN` time steps.
      spread: (time,) root mean square of x - level in the last `SPREAD_SEASONS` seasons; the last
        positive one where these values are equal.
      slope: (time,) change of the level within the last season; 0 where it is not known.
      base: (time, horizon) what the forecasts of the next time steps are relative to.
    """

    level: np.ndarray
    spread: np.ndarray
    slope: np.ndarray
    base: np.ndarray


def window_scaling(
    values: np.ndarray,
    horizon: int,
    season: int,
    normalization: Literal["window", "difference", "seasonal"],
) -> WindowScaling:
    """Returns level, spread and the base of forecasts at each time step.

    The base is the last observed value for `"window"`, the seasonal naive forecast for
    `"difference"`, and for `"seasonal"` a forecast of level, season and trend:

        base[t, h-1] = level[t] + spread[t] · profile[t, h-1] + TREND_SHARE · slope[t] · h / season

    The profile is the mean of the standardized values (x - level) / spread at the same position of
    the last `PROFILE_SEASONS` seasons. So a season that grows with the level of its series is
    forecast to grow.

    Args:
      values: (time,), NaN where missing.
      horizon: time steps ahead.
      season: time steps per season; 1 without season.
      normalization: what the base is; without a season always the last observed value.

    >>> waves = np.tile([0.0, 1.0, 2.0, 5.0], 7) + 8
    >>> window_scaling(waves, 4, 4, "seasonal").base[-1].round(6).tolist()
    [8.0, 9.0, 10.0, 13.0]
    """
    span = season if season > 1 else DEFAULT_SPAN
    level = trailing_mean(values, span)
    spread = trailing_spread(values, level, SPREAD_SEASONS * span)
    # The mean of a part of a season depends on the part.
    whole = np.where(np.arange(len(values)) < span - 1, np.nan, level)
    slope = np.nan_to_num(whole - _delayed(whole, span))
    if normalization == "window" or season == 1:
        return WindowScaling(level, spread, slope, last_value(values, horizon))
    naive = seasonal_naive(values, horizon, season)
    if normalization == "difference":
        return WindowScaling(level, spread, slope, naive)
    profile = _seasonal_mean((values - whole) / spread, horizon, season)
    trend = slope[:, None] * np.arange(1, horizon + 1) / season
    base = level[:, None] + spread[:, None] * profile + TREND_SHARE * trend
    return WindowScaling(level, spread, slope, np.where(np.isnan(base), naive, base))


def window_inputs(values: np.ndarray, scaling: WindowScaling) -> np.ndarray:
    """Returns the inputs (time, `WINDOW_INPUTS`) of the time steps of a series.

        (x[t] - level[t-1]) and (x[t] - last[t-1]) and (x[t] - base[t-1, 0]) and slope[t],
        each divided by spread[t]; 0 where missing
        1 where x[t] is missing, else 0
        the logarithm of the number of time steps since the previous observation

    with last[t] the last observed value up to t.
    """
    last = last_value(values, 1)[:, 0]
    scaled = [
        (values - previous(scaling.level)) / scaling.spread,
        (values - previous(last)) / scaling.spread,
        (values - previous(scaling.base[:, 0])) / scaling.spread,
        scaling.slope / scaling.spread,
    ]
    inputs = [np.clip(np.nan_to_num(x), -MAX_INPUT, MAX_INPUT) for x in scaled]
    inputs += [np.isnan(values), np.log(steps_since_observed(values))]
    return np.stack(inputs, axis=1)


def trailing_spread(values: np.ndarray, level: np.ndarray, window: int) -> np.ndarray:
    """Returns the root mean square of values minus level in the last `window` time steps.

    Where these values do not vary, it is the last one that was positive; NaN before there is one.

    >>> trailing_spread(np.array([1.0, 4.0, 4.0, 4.0]), np.array([1.0, 1.0, 4.0, 4.0]), 1).tolist()
    [nan, 3.0, 3.0, 3.0]
    """
    spread = np.sqrt(np.maximum(trailing_mean((values - level) ** 2, window), 0.0))
    # Smaller spreads are rounding errors of the running sums.
    largest = np.fmax.accumulate(np.fmax(1e-9 * np.abs(values), 1e-6 * spread))
    with np.errstate(invalid="ignore"):
        varies = spread > largest
    index = np.maximum.accumulate(np.where(varies, np.arange(len(values)), -1))
    return np.where(index < 0, np.nan, spread[index])


def _seasonal_mean(values: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Means (time, horizon) of the last values at the position of each of the next time steps."""
    ahead = np.arange(1, horizon + 1)
    newest = np.arange(len(values))[:, None] + ahead - season * -(-ahead // season)
    total, count = np.zeros(newest.shape), np.zeros(newest.shape)
    for k in range(PROFILE_SEASONS):
        source = newest - season * k
        found = np.where(source >= 0, values[np.maximum(source, 0)], np.nan)
        total += np.nan_to_num(found)
        count += ~np.isnan(found)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _delayed(values: np.ndarray, steps: int) -> np.ndarray:
    return np.concatenate([np.full(min(steps, len(values)), np.nan), values[:-steps]])
