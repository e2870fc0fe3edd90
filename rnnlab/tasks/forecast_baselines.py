"""Naive and classical forecasts of the test part of series, scored as a model's forecasts are."""

import functools
import importlib.util

import numpy as np

from rnnlab.tasks.reference import arima, ets
from rnnlab.tasks.reference.naive import last_value, rmse_mae, seasonal_naive
from rnnlab.tasks.series_features import ahead, season_period, within
from rnnlab.tasks.series_split import SeriesSplit

MAX_CLASSICAL_COLUMNS = 8
"""Greatest number of columns, over all series, to which classical models are fitted."""


def naive_scores(
    split: SeriesSplit, horizon: int, scales: np.ndarray
) -> dict[str, dict[str, float]]:
    """Returns RMSE and MAE of the naive forecasts on the scored entries of the test part.

    Args:
      split: the series.
      horizon: time steps ahead.
      scales: (series, columns) what errors are divided by.
    """
    forecasts = {
        "seasonal naive": lambda x: seasonal_naive(x, horizon, split.season),
        "last value": lambda x: last_value(x, horizon),
    }
    return {
        name: _score(split, horizon, scales, [forecast(x) for x in _columns(split)])
        for name, forecast in forecasts.items()
    }


def classical_scores(
    split: SeriesSplit, horizon: int, scales: np.ndarray
) -> dict[str, dict[str, float]]:
    """Returns RMSE and MAE of exponential smoothing (ETS) and ARIMA on the test part.

    Each column has a model of its own, chosen by AIC and fitted to the end of the training part:
    its last `MAX_FITTED_STEPS` time steps. With fixed parameters it forecasts from the same time
    steps as the other baselines, given all earlier values. A column of too few values gets the
    seasonal naive forecast. Covariates are not used.

    Returns:
      The scores; empty where `missing_note` gives a reason.
    """
    if missing_note(split) is not None:
        return {}
    period = season_period(split.season, split.series.days)
    made = [
        _classical(x.tobytes(), split.boundaries[0], horizon, split.season, period)
        for x in _columns(split)
    ]
    return {
        name: _score(split, horizon, scales, [forecasts[name] for forecasts in made])
        for name in ("ETS", "ARIMA")
    }


def missing_note(split: SeriesSplit) -> str | None:
    """Returns a sentence on why there are no classical forecasts, or None if there are."""
    if importlib.util.find_spec("statsmodels") is None:
        return (
            "statsmodels is not installed, so that results lack the baselines ETS and ARIMA; run "
            "`pip install 'rnnlab[data]'`."
        )
    count = split.series.values.shape[0] * split.series.values.shape[2]
    if count > MAX_CLASSICAL_COLUMNS:
        return (
            "Results lack the baselines ETS and ARIMA, which are fitted to at most "
            f"{MAX_CLASSICAL_COLUMNS} columns of series; this data has {count:,}."
        )
    return None


@functools.lru_cache(maxsize=4 * MAX_CLASSICAL_COLUMNS)
def _classical(
    data: bytes, train: int, horizon: int, season: int, period: float
) -> dict[str, np.ndarray]:
    """The forecasts (time, horizon) of the classical models, which runs of a process share."""
    values = np.frombuffer(data)
    naive, made = seasonal_naive(values, horizon, season), {}
    fits = {
        "ETS": (ets.MAX_FITTED_STEPS, lambda known: ets.fit_ets(known, season)),
        "ARIMA": (
            arima.max_fitted_steps(season),
            lambda known: arima.fit_arima(known, season, period),
        ),
    }
    for name, (limit, fit) in fits.items():
        start = max(0, train - limit)
        model, made[name] = fit(values[start:train]), naive.copy()
        if model is not None:
            found = model.forecasts(values[start:], horizon)
            made[name][start:] = np.where(np.isfinite(found), found, naive[start:])
    return made


def _columns(split: SeriesSplit) -> list[np.ndarray]:
    """The values (time,) of every column of every series up to the end of the test part."""
    values = split.series.values
    shape = values.shape[0], values.shape[2]
    return [np.ascontiguousarray(values[k, : split.end, c]) for k, c in np.ndindex(shape)]


def _score(
    split: SeriesSplit, horizon: int, scales: np.ndarray, forecasts: list[np.ndarray]
) -> dict[str, float]:
    actual = []
    for x, scale in zip(_columns(split), scales.ravel(), strict=True):
        scored = within(ahead(x, horizon), horizon, split.boundaries[1], split.end)
        # Values before the first observation, and it, cannot be forecast.
        actual.append(np.where(np.isnan(last_value(x, horizon)), np.nan, scored) / scale)
    made = [x / scale for x, scale in zip(forecasts, scales.ravel(), strict=True)]
    return rmse_mae(np.stack(made), np.stack(actual))
