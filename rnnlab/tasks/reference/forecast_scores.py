"""Scores of forecasts of many series, each in its own units.

A forecast is the quantiles of one series at several horizons. All scores but the coverage divide
by a size of the series, so that a mean over series is not the error of the largest one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Forecast(NamedTuple):
    """The predicted quantiles of one series.

    Attributes:
      quantiles: (horizon, levels), in the units of the series.
      levels: (levels,), increasing; 0.5 is the point forecast.
    """

    quantiles: np.ndarray
    levels: tuple[float, ...]

    def at(self, level: float) -> np.ndarray:
        """Returns the quantile of a level, (horizon,).

        Raises:
          ValueError: the forecast has no quantile of that level.
        """
        if level not in self.levels:
            raise ValueError(f"level must be one of {self.levels}, got {level}; choose one of them")
        return self.quantiles[:, self.levels.index(level)]


class Outcome(NamedTuple):
    """The true values that a forecast is compared with.

    Attributes:
      values: (horizon,), NaN where unknown.
      scale: the mean absolute error of the seasonal naive forecast in the training part.
    """

    values: np.ndarray
    scale: float


Forecasts, Outcomes = Sequence[Forecast], Sequence[Outcome]


def seasonal_scale(values: np.ndarray, season: int) -> float:
    """Returns the mean absolute difference from the value one season before, without NaN.

    >>> seasonal_scale(np.array([1.0, 2.0, 4.0, 3.0]), season=2)
    2.0
    """
    return float(np.nanmean(np.abs(values[season:] - values[:-season])))


def mase(forecasts: Forecasts, outcomes: Outcomes) -> float:
    """Returns the mean absolute scaled error of the medians: a mean over horizons, then series.

    Source: Hyndman and Koehler, "Another look at measures of forecast accuracy", IJF 22 (2006).
    """
    return _mean_over_series(
        np.abs(forecast.at(0.5) - outcome.values) / outcome.scale
        for forecast, outcome in zip(forecasts, outcomes, strict=True)
    )


def smape(forecasts: Forecasts, outcomes: Outcomes) -> float:
    """Returns the symmetric mean absolute percentage error of the medians, in percent.

    Source: Makridakis, Spiliotis and Assimakopoulos, "The M4 competition", IJF 36 (2020).
    """
    return _mean_over_series(
        200 * np.abs(x - y.values) / (np.abs(x) + np.abs(y.values))
        for x, y in ((f.at(0.5), y) for f, y in zip(forecasts, outcomes, strict=True))
    )


def weighted_quantile_loss(forecasts: Forecasts, outcomes: Outcomes) -> float:
    """Returns twice the quantile loss of all series over the sum of all absolute values.

    It is a mean over levels. With many levels it approaches the CRPS over the mean absolute value.
    """
    loss, size = 0.0, 0.0
    for forecast, outcome in zip(forecasts, outcomes, strict=True):
        error = outcome.values[:, None] - forecast.quantiles
        levels = np.array(forecast.levels)
        pinball = np.maximum(levels * error, (levels - 1) * error)
        loss += 2 * float(np.nansum(pinball.mean(-1)))
        size += float(np.nansum(np.abs(outcome.values)))
    return loss / size


def msis(forecasts: Forecasts, outcomes: Outcomes, width: float = 0.95) -> float:
    """Returns the mean scaled interval score of the central interval that has `width`.

    Source: Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", JASA
    102 (2007), section 6.2; scaled as in the M4 competition.
    """
    miss = round(1 - width, 6)

    def score(forecast: Forecast, outcome: Outcome) -> np.ndarray:
        low, high = _interval(forecast, width)
        outside = np.maximum(low - outcome.values, 0) + np.maximum(outcome.values - high, 0)
        return (high - low + 2 / miss * outside) / outcome.scale

    return _mean_over_series(map(score, forecasts, outcomes))


def coverage(forecasts: Forecasts, outcomes: Outcomes, width: float = 0.95) -> float:
    """Returns the share of values inside the central interval that should have `width` of them."""

    def inside(forecast: Forecast, outcome: Outcome) -> np.ndarray:
        low, high = _interval(forecast, width)
        known = (outcome.values >= low) & (outcome.values <= high)
        return np.where(np.isnan(outcome.values), np.nan, known)

    return _mean_over_series(map(inside, forecasts, outcomes))


SCORES = {
    "mase": mase,
    "weighted_quantile_loss": weighted_quantile_loss,
    "msis": msis,
    "coverage": coverage,
    "smape": smape,
}
"""Scores by the names of the metrics; of `msis` and `coverage`, those of the 95% interval."""


def pit_values(forecasts: Forecasts, outcomes: Outcomes) -> np.ndarray:
    """Returns the probability integral transform of all known values, for a histogram.

    It is the level of the forecast's quantile at the value, linear between levels, and 0 or 1
    outside of them. The forecasts are calibrated if it is uniform.

    >>> forecast = Forecast(np.array([[1.0, 2.0, 3.0]]), (0.25, 0.5, 0.75))
    >>> pit_values([forecast], [Outcome(np.array([2.5]), 1.0)]).tolist()
    [0.625]
    """
    found = []
    for forecast, outcome in zip(forecasts, outcomes, strict=True):
        for quantiles, value in zip(forecast.quantiles, outcome.values, strict=True):
            if not np.isnan(value):
                found.append(np.interp(value, quantiles, forecast.levels, left=0.0, right=1.0))
    return np.array(found)


def _interval(forecast: Forecast, width: float) -> tuple[np.ndarray, np.ndarray]:
    low = round((1 - width) / 2, 6)
    return forecast.at(low), forecast.at(round(1 - low, 6))


def _mean_over_series(scores) -> float:
    return float(np.mean([np.nanmean(of_series) for of_series in scores]))
