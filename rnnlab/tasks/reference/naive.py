"""Forecasts that repeat what was seen: the yardsticks of forecasting."""

import numpy as np

from rnnlab.validation import require_positive_int


def last_observed(values: np.ndarray) -> np.ndarray:
    """At each step the newest value up to it that is not NaN; NaN before the first.

    >>> last_observed(np.array([np.nan, 1.0, np.nan, 3.0])).tolist()
    [nan, 1.0, 1.0, 3.0]
    """
    at = np.where(np.isnan(values), -1, np.arange(len(values)))
    at = np.maximum.accumulate(at)
    return np.where(at < 0, np.nan, values[at])


def last_value(values: np.ndarray, horizon: int) -> np.ndarray:
    """Forecasts the newest observed value for every step ahead.

        forecast[t, h-1] = the newest value of values[:t+1],   h = 1 to horizon

    Args:
      values: (time,), NaN where missing.
      horizon: steps ahead, at least 1.

    Returns:
      (time, horizon), NaN where nothing has been observed.

    >>> last_value(np.array([1.0, 2.0]), horizon=2).tolist()
    [[1.0, 1.0], [2.0, 2.0]]
    """
    require_positive_int(horizon=horizon)
    return np.repeat(last_observed(values)[:, None], horizon, axis=1)


def seasonal_naive(values: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Forecasts what was observed at the same place of the newest season that has it.

        forecast[t, h-1] = values[t + h - k·season]   for the smallest k with t + h - k·season <= t
                                                      at which it is not missing

    Where no season has it, the newest observed value.

    Args:
      values: (time,), NaN where missing.
      horizon: steps ahead, at least 1.
      season: steps a season, at least 1.

    Returns:
      (time, horizon), NaN where nothing has been observed.

    >>> seasonal_naive(np.array([1.0, 2.0, 3.0]), horizon=2, season=2).tolist()
    [[1.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    """
    require_positive_int(horizon=horizon, season=season)
    steps = len(values)
    rows = -(-steps // season)
    laid = np.full(rows * season, np.nan)
    laid[:steps] = values
    laid = laid.reshape(rows, season)
    newest = np.stack([last_observed(place) for place in laid.T], axis=1).ravel()
    ahead = np.arange(1, horizon + 1)
    source = np.arange(steps)[:, None] + (ahead - season * -(-ahead // season))[None]
    forecast = np.where(source < 0, np.nan, newest[np.maximum(source, 0)])
    return np.where(np.isnan(forecast), last_value(values, horizon), forecast)


def errors(forecast: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """RMSE and MAE over the entries of `actual` that are not NaN.

    Raises:
      ValueError: no entry is scored, or one that is has no forecast.

    >>> errors(np.array([[1.0, 5.0]]), np.array([[3.0, np.nan]]))
    {'rmse': 2.0, 'mae': 2.0}
    """
    scored = ~np.isnan(actual)
    difference = (forecast - actual)[scored]
    if difference.size == 0:
        raise ValueError("actual has no entry that is not NaN; at least one is needed")
    if np.isnan(difference).any():
        raise ValueError("forecast is NaN where actual is not; a forecast for each is needed")
    return {
        "rmse": float(np.sqrt(np.mean(difference**2))),
        "mae": float(np.mean(np.abs(difference))),
    }
