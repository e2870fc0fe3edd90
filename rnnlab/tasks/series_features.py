"""What is known of a series at each of its steps, from that step and those before."""

import numpy as np

from rnnlab.tasks.readers.csv_series import Series
from rnnlab.tasks.reference.naive import last_observed

# Steps a season by the days of a step, where the settings name none: a day of hours, a week of
# days, a year of weeks, months or quarters.
_SEASONS = {1 / 24: 24, 1.0: 7, 7.0: 52, 30.44: 12, 91.31: 4}

_YEAR = 365.2425


def before(known: np.ndarray) -> np.ndarray:
    """What is known one step before each; NaN before the first."""
    return np.concatenate([[np.nan], known[:-1]])


def trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the values within the `window` steps up to each; the last such mean where none is.

    >>> trailing_mean(np.array([np.nan, 1.0, 3.0, np.nan]), 2).tolist()
    [nan, 1.0, 2.0, 3.0]
    """
    present = ~np.isnan(values)
    # Relative to a value among them, which keeps the running sums small against what they add.
    origin = values[present][0]
    sums = np.cumsum(np.where(present, values - origin, 0.0))
    counts = np.cumsum(present)
    sums[window:] -= sums[:-window].copy()
    counts[window:] -= counts[:-window].copy()
    mean = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return last_observed(mean) + origin


def since_observed(values: np.ndarray) -> np.ndarray:
    """Steps back to the observation before each step, or to before the first step.

    >>> since_observed(np.array([1.0, np.nan, np.nan, 2.0])).tolist()
    [1, 1, 2, 3]
    """
    step = np.arange(len(values))
    observed = np.maximum.accumulate(np.where(np.isnan(values), -1, step))
    return step - np.concatenate([[-1], observed[:-1]])


def standardised(values: np.ndarray, train: int, spread: float) -> np.ndarray:
    """(time, 1): zero mean and unit deviation over the first `train` steps; 0 where missing.

    What varies by rounding alone, as the steps of a straight line do, is scaled by `spread`.
    """
    mean, deviation = np.nanmean(values[:train]), np.nanstd(values[:train])
    scale = deviation if deviation > 1e-9 * spread else spread
    return np.nan_to_num((values - mean) / scale)[:, None]


def season_place(series: Series, season: int) -> np.ndarray:
    """Sine and cosine of the place in the season; of the date in its year where that is one."""
    step = np.arange(len(series.values))
    turn = step / season
    if series.dates is not None and abs(season * series.days / _YEAR - 1) < 0.02:
        # 52 weeks are a day short of a year: counted, the seasons would drift over decades.
        turn = (series.dates - series.dates[0]) / np.timedelta64(1, "D") / _YEAR
    angle = 2 * np.pi * turn
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def usual_season(days: float | None) -> int:
    """Steps a season where a step takes `days`; 1 where that says nothing.

    >>> usual_season(days=1.0)
    7
    """
    if days is None:
        return 1
    return next((steps for each, steps in _SEASONS.items() if abs(days / each - 1) < 0.02), 1)
