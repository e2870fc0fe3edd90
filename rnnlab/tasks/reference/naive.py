"""Naive forecasts, which repeat observed values: the baselines of forecasting."""

import numpy as np

from rnnlab.validation import require_positive_int


def last_observed(values: np.ndarray) -> np.ndarray:
    """Returns at each time step the last value that is not NaN; NaN before the first.

    >>> last_observed(np.array([np.nan, 1.0, np.nan, 3.0])).tolist()
    [nan, 1.0, 1.0, 3.0]
    """
    index = np.where(np.isnan(values), -1, np.arange(len(values)))
    index = np.maximum.accumulate(index)
    return np.where(index < 0, np.nan, values[index])


def last_value(values: np.ndarray, horizon: int) -> np.ndarray:
    """Forecasts the last observed value for every time step ahead.

        forecast[t, h-1] = the last value of values[:t+1] that is not NaN,   h = 1 to horizon

    Args:
      values: (time,), NaN where missing.
      horizon: time steps ahead, at least 1.

    Returns:
      (time, horizon), NaN before the first observation.

    >>> last_value(np.array([1.0, 2.0]), horizon=2).tolist()
    [[1.0, 1.0], [2.0, 2.0]]
    """
    require_positive_int(horizon=horizon)
    return np.repeat(last_observed(values)[:, None], horizon, axis=1)


def seasonal_naive(values: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Forecasts the value observed at the same position of the last season that has one.

        forecast[t, h-1] = values[t + h - k·season]   for the smallest k with t + h - k·season <= t
                                                      for which it is not NaN

    If no season has one, the forecast is the last observed value.

    Args:
      values: (time,), NaN where missing.
      horizon: time steps ahead, at least 1.
      season: time steps per season, at least 1.

    Returns:
      (time, horizon), NaN before the first observation.

    >>> seasonal_naive(np.array([1.0, 2.0, 3.0]), horizon=2, season=2).tolist()
    [[1.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    """
    require_positive_int(horizon=horizon, season=season)
    length = len(values)
    seasons = -(-length // season)
    padded = np.full(seasons * season, np.nan)
    padded[:length] = values
    by_position = padded.reshape(seasons, season).T
    last = np.stack([last_observed(position) for position in by_position], axis=1).ravel()
    ahead = np.arange(1, horizon + 1)
    source = np.arange(length)[:, None] + (ahead - season * -(-ahead // season))[None]
    forecast = np.where(source < 0, np.nan, last[np.maximum(source, 0)])
    return np.where(np.isnan(forecast), last_value(values, horizon), forecast)


def rmse_mae(forecast: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Returns RMSE and MAE over the entries of `actual` that are not NaN.

    Raises:
      ValueError: `actual` is NaN everywhere, or `forecast` is NaN where `actual` is not.

    >>> rmse_mae(np.array([[1.0, 5.0]]), np.array([[3.0, np.nan]]))
    {'rmse': 2.0, 'mae': 2.0}
    """
    scored = ~np.isnan(actual)
    residuals = (forecast - actual)[scored]
    if residuals.size == 0:
        raise ValueError("actual must have an entry that is not NaN, got none; pass observations")
    if np.isnan(residuals).any():
        raise ValueError("forecast must not be NaN where actual is observed; forecast every entry")
    return {
        "rmse": float(np.sqrt(np.mean(residuals**2))),
        "mae": float(np.mean(np.abs(residuals))),
    }
