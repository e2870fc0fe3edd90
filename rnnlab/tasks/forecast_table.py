"""Forecasts as rows of a table, and series that forecasts continue."""

import numpy as np

from rnnlab.tasks.readers.dates import continued
from rnnlab.tasks.readers.series import Series
from rnnlab.tasks.reference.naive import rmse_mae


def forecast_rows(series: Series, origin: int, forecast: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the rows of the forecasts (series, columns, horizon) from time step `origin`."""
    size, width, horizon = forecast.shape
    steps = origin + 1 + np.arange(horizon)
    padded = np.concatenate([series.values, np.full((size, horizon, width), np.nan)], axis=1)
    actual = padded[:, steps].transpose(0, 2, 1)
    if series.dates is None:
        moments, name = np.arange(series.values.shape[1] + horizon), "time_step"
    else:
        moments, name = continued(series.dates, horizon), "date"
    index = np.indices(forecast.shape)
    columns = {}
    if series.names != ("",):
        columns["series"] = np.array(series.names)[index[0].ravel()]
    if width > 1:
        columns["column"] = np.array(series.columns)[index[1].ravel()]
    columns |= {
        "origin": np.full(forecast.size, moments[origin]),
        name: moments[steps][index[2].ravel()],
        "steps_ahead": 1 + index[2].ravel(),
        "forecast": forecast.ravel(),
        "actual": actual.ravel(),
    }
    return columns


def extend(series: Series, end: int, forecast: np.ndarray) -> Series:
    """Returns series with forecasts (series, columns, steps) after time step `end`.

    Covariates that are known later than that are kept, with missing values next to them.
    """
    count = max(end + 1 + forecast.shape[-1], series.values.shape[1])
    values = np.full((len(series.values), count, series.values.shape[2]), np.nan)
    values[:, : end + 1] = series.values[:, : end + 1]
    values[:, end + 1 : end + 1 + forecast.shape[-1]] = forecast.transpose(0, 2, 1)
    dates = series.dates
    if dates is not None:
        dates = continued(dates, max(count - len(dates), 0))[:count]

    def padded(covariates: np.ndarray) -> np.ndarray:
        missing = max(count - covariates.shape[1], 0)
        return np.pad(covariates, ((0, 0), (0, missing), (0, 0)), constant_values=np.nan)[:, :count]

    return series._replace(
        values=values,
        dates=dates,
        covariates=padded(series.covariates),
        known_covariates=padded(series.known_covariates),
    )


def summarize(columns: dict[str, np.ndarray], horizon: int) -> str:
    """Returns a sentence on forecasts, with the error of those whose truth is known."""
    name = "date" if "date" in columns else "time step"
    last = columns["origin"].max()
    day = str(last).removesuffix("T00:00:00")
    text = f"{horizon} time steps after {name} {day}"
    known = ~np.isnan(columns["actual"])
    if not known.any():
        return f"Forecasts of {text}."
    errors = []
    for column in np.unique(columns["column"]) if "column" in columns else [""]:
        mask = known & (columns.get("column", "") == column)
        if mask.any():
            rmse = rmse_mae(columns["forecast"][mask], columns["actual"][mask])["rmse"]
            errors.append(f"{rmse:.4g}" + f" for {column}" * bool(column))
    count = len(np.unique(columns["origin"][known]))
    return (
        f"Forecasts of {text}, and from {count} earlier origins, where the truth is known and each "
        f"time step is forecast once: RMSE {', '.join(errors)}."
    )
