"""Features of a series at each time step, from that time step and earlier ones."""

import numpy as np

from rnnlab.tasks.readers.csv_series import Series
from rnnlab.tasks.reference.naive import last_observed

# Time steps per season by days per time step, where the settings have no season: a day of hours, a
# week of days, a year of weeks, months or quarters.
_SEASONS = {1 / 24: 24, 1.0: 7, 7.0: 52, 30.44: 12, 91.31: 4}

_YEAR = 365.2425


def previous(values: np.ndarray) -> np.ndarray:
    """Returns the value one time step before each; NaN before the first."""
    return np.concatenate([[np.nan], values[:-1]])


def trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Returns the mean of the values in the last `window` time steps; if none, the last mean.

    >>> trailing_mean(np.array([np.nan, 1.0, 3.0, np.nan]), 2).tolist()
    [nan, 1.0, 2.0, 3.0]
    """
    present = ~np.isnan(values)
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


def standardize(values: np.ndarray, train: int, spread: float) -> np.ndarray:
    """Returns (time, 1) of zero mean and unit deviation over the first `train` time steps.

    Missing values become 0. Values that vary only by rounding, such as the differences of a
    straight line, are scaled by `spread`.
    """
    mean, deviation = np.nanmean(values[:train]), np.nanstd(values[:train])
    scale = deviation if deviation > 1e-9 * spread else spread
    return np.nan_to_num((values - mean) / scale)[:, None]


def seasonal_features(series: Series, season: int) -> np.ndarray:
    """Returns sine and cosine of the position in the season, or of the date in its year."""
    step = np.arange(len(series.values))
    cycles = step / season
    if series.dates is not None and abs(season * series.days / _YEAR - 1) < 0.02:
        # 52 weeks are a day less than a year: counting weeks would drift over decades.
        cycles = (series.dates - series.dates[0]) / np.timedelta64(1, "D") / _YEAR
    angle = 2 * np.pi * cycles
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def default_season(days: float | None) -> int:
    """Returns time steps per season for `days` per time step; 1 if there is no usual season.

    >>> default_season(days=1.0)
    7
    """
    if days is None:
        return 1
    return next((steps for each, steps in _SEASONS.items() if abs(days / each - 1) < 0.02), 1)
