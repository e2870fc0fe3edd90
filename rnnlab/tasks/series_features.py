"""Features of series at each time step, from that time step and earlier ones.

The functions work along the first axis, time.
"""

from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.dates import steps_after
from rnnlab.tasks.reference.naive import last_observed

# Time steps per season by days per time step, where the settings have no season: a day of hours, a
# week of days, a year of weeks, months or quarters.
_SEASONS = {1 / 24: 24, 1.0: 7, 7.0: 52, 30.44: 12, 91.31: 4}

_YEAR = 365.2425


class Standardization(NamedTuple):
    """A mean and a scale, by which values are standardized."""

    mean: float
    scale: float

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Returns standardized values; missing ones become 0."""
        return np.nan_to_num((values - self.mean) / self.scale)


def fit_standardization(values: np.ndarray, spread: float) -> Standardization:
    """Returns the mean and the deviation of the values that are not NaN, of which there are some.

    Values that vary only by rounding, such as the differences of a straight line, are scaled by
    `spread`.
    """
    mean, deviation = float(np.nanmean(values)), float(np.nanstd(values))
    return Standardization(mean, deviation if deviation > 1e-9 * spread else spread)


def previous(values: np.ndarray) -> np.ndarray:
    """Returns the value one time step before each; NaN before the first."""
    return np.concatenate([[np.nan], values[:-1]])


def trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Returns the mean of the values in the last `window` time steps; if none, the last mean.

    >>> trailing_mean(np.array([np.nan, 1.0, 3.0, np.nan]), 2).tolist()
    [nan, 1.0, 2.0, 3.0]
    """
    present = ~np.isnan(values)
    if not present.any():
        return values
    # Relative to one of the values, which keeps the running sums small and so accurate.
    origin = values[present][0]
    sums = np.cumsum(np.where(present, values - origin, 0.0))
    counts = np.cumsum(present)
    sums[window:] -= sums[:-window].copy()
    counts[window:] -= counts[:-window].copy()
    mean = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return last_observed(mean) + origin


def steps_since_observed(values: np.ndarray) -> np.ndarray:
    """Returns the time steps since the previous observation, or since before the first time step.

    >>> steps_since_observed(np.array([1.0, np.nan, np.nan, 2.0])).tolist()
    [1, 1, 2, 3]
    """
    step = np.arange(len(values))
    observed = np.maximum.accumulate(np.where(np.isnan(values), -1, step))
    return step - np.concatenate([[-1], observed[:-1]])


def ahead(values: np.ndarray, horizon: int) -> np.ndarray:
    """Returns values[t+h] for h = 1 to horizon: (time, horizon), NaN beyond the end.

    >>> ahead(np.array([1.0, 2.0, 3.0]), 2).tolist()
    [[2.0, 3.0], [3.0, nan], [nan, nan]]
    """
    padded = np.concatenate([values, np.full(horizon, np.nan)])
    return np.lib.stride_tricks.sliding_window_view(padded[1:], horizon)


def within(targets: np.ndarray, horizon: int, start: int, end: int) -> np.ndarray:
    """Returns `targets` with NaN unless origin and target are in time steps [start, end).

    Args:
      targets: (..., time, columns * horizon), the horizons of a column next to each other.
    """
    origin = np.arange(targets.shape[-2])[:, None]
    steps_ahead = 1 + np.arange(targets.shape[-1]) % horizon
    scored = (origin >= start) & (origin + steps_ahead < end)
    return np.where(scored, targets, np.nan).astype(targets.dtype)


def seasonal_features(
    dates: np.ndarray | None, days: float | None, season: int, origin: np.ndarray | None, count: int
) -> np.ndarray:
    """Returns sine and cosine of the position in the season, or of the date in its year.

    Args:
      dates: (time,) even dates, and `days` between them; None without dates.
      season: time steps per season.
      origin: (2,) the dates of the first two time steps of the first season; None without dates.
      count: time steps.
    """
    cycles = np.arange(count) / season
    if dates is not None and abs(season * days / _YEAR - 1) < 0.02:
        # 52 weeks are a day less than a year: counting weeks would drift over decades.
        cycles = (dates - origin[0]) / np.timedelta64(1, "D") / _YEAR
    elif dates is not None:
        cycles = (steps_after(origin, dates[0]) + np.arange(count)) / season
    angle = 2 * np.pi * cycles
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def season_period(season: int, days: float | None) -> float:
    """Returns time steps per season as a real number: 52 weeks are a day less than a year.

    Args:
      season: time steps per season.
      days: mean days per time step; None without dates.

    >>> round(season_period(52, days=7.0), 2), season_period(24, days=1 / 24)
    (52.18, 24.0)
    """
    is_year = days is not None and abs(season * days / _YEAR - 1) < 0.02
    return _YEAR / days if is_year else float(season)


def default_season(days: float | None) -> int:
    """Returns time steps per season for `days` per time step; 1 if there is no usual season.

    >>> default_season(days=1.0)
    7
    """
    if days is None:
        return 1
    return next((steps for each, steps in _SEASONS.items() if abs(days / each - 1) < 0.02), 1)
