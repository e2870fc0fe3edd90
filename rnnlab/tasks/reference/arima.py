"""ARIMA models, fitted once and rolled over a series as a baseline of forecasts."""

import contextlib
import importlib
import warnings
from typing import Any, NamedTuple

import numpy as np

from rnnlab.optional import require_module

MAX_SEASON = 12
"""Longest season with seasonal differences; a longer one is a sum of sine waves."""

MAX_FITTED_STEPS, MAX_FITTED_SEASONAL_STEPS = 1000, 300
"""Time steps, the last of the training part, to which models are fitted, without and with seasonal
differences, which take longer."""

# (p, d, q), seasonal (P, D, Q), and whether there is a constant.
_SEASONAL = [
    ((0, 1, 1), (0, 1, 1), False),
    ((1, 1, 1), (0, 1, 1), False),
    ((2, 1, 0), (0, 1, 1), False),
    ((1, 0, 0), (0, 1, 1), True),
    ((2, 0, 0), (1, 0, 0), True),
]
_PLAIN = [
    ((0, 1, 1), (0, 0, 0), True),
    ((1, 1, 1), (0, 0, 0), False),
    ((2, 1, 0), (0, 0, 0), True),
    ((0, 2, 1), (0, 0, 0), False),
    ((1, 0, 1), (0, 0, 0), True),
    ((3, 0, 0), (0, 0, 0), True),
]
_WAVES = (2, 5)
"""Numbers of harmonics of a long season."""


class Arima(NamedTuple):
    """A fitted model.

    Attributes:
      order, seasonal_order: (p, d, q) and (P, D, Q, season).
      trend: "c" with a constant, else "n".
      params: of the model, as statsmodels orders them.
      is_log: whether the model is of the logarithm of the values.
      period: time steps of the season that waves describe.
      waves: their coefficients, sines and cosines of each harmonic in turn; empty without.
      aic: Akaike's information criterion of the fit, of the values in their own units.
    """

    order: tuple[int, int, int]
    seasonal_order: tuple[int, int, int, int]
    trend: str
    params: np.ndarray
    is_log: bool
    period: float
    waves: np.ndarray
    aic: float

    def forecasts(self, values: np.ndarray, horizon: int) -> np.ndarray:
        """Returns the forecasts from every time step, with fixed parameters.

        Of a model of logarithms it is the median.

        Args:
          values: (time,), from the first fitted time step, NaN where missing.
          horizon: time steps ahead.

        Returns:
          (time, horizon).
        """
        count, harmonics = len(values), len(self.waves) // 2
        waves = _waves(np.arange(count + horizon), self.period, harmonics) @ self.waves
        with np.errstate(invalid="ignore", divide="ignore"):
            known = np.log(values) if self.is_log else values
        known = np.where(np.isfinite(known), known, np.nan)
        model = _model(known - waves[:count], self)
        with warnings.catch_warnings(), _one_thread():
            warnings.simplefilter("ignore")
            filtered = model.filter(self.params).filter_results
        state = filtered.predicted_state[:, 1:].T
        transition, intercept = filtered.transition[..., 0], filtered.state_intercept[..., 0]
        made = np.empty((count, horizon))
        for h in range(horizon):
            made[:, h] = state @ filtered.design[0, :, 0]
            state = state @ transition.T + intercept
        made += np.lib.stride_tricks.sliding_window_view(waves[1:], horizon)[:count]
        return np.exp(made) if self.is_log else made


def max_fitted_steps(season: int) -> int:
    """Returns the number of time steps to which models of a season are fitted."""
    return MAX_FITTED_SEASONAL_STEPS if 1 < season <= MAX_SEASON else MAX_FITTED_STEPS


def fit_arima(values: np.ndarray, season: int, period: float) -> Arima | None:
    """Returns the model with the lowest AIC, fitted by maximum likelihood.

    The candidates are a few orders with and without differences; with seasonal ones for a season
    of up to `MAX_SEASON` time steps. A longer season is a sum of sine waves, whose coefficients are
    fitted before the model by least squares. Positive values are modeled as they are or as their
    logarithms, whichever has the lower AIC. All likelihoods are of the same values: those after the
    longest difference.

    Args:
      values: (time,), the training part, NaN where missing.
      season: time steps per season; 1 without season.
      period: the same as a real number, such as 52.18 weeks of a year.

    Returns:
      The model, or None if there are fewer than 10 values or no model can be fitted.

    Raises:
      ValueError: statsmodels is not installed.

    Source: Box and Jenkins, "Time Series Analysis" (1970); Hyndman and Athanasopoulos,
    "Forecasting: Principles and Practice" (2021), section 10.5, for the waves.
    """
    known = values[~np.isnan(values)]
    if len(known) < 10 or np.ptp(known) == 0:
        return None
    is_seasonal = 1 < season <= MAX_SEASON and len(values) >= 3 * season
    harmonics = _WAVES if season > MAX_SEASON and len(values) >= 2 * season else (0,)
    forms = [*(_SEASONAL if is_seasonal else []), *(_PLAIN if not is_seasonal else _PLAIN[-1:])]
    burn = max(form[0][1] + season * form[1][1] for form in forms)
    if len(known) <= burn + 8:
        forms, burn = _PLAIN, 2
    scales = (False, True) if known.min() > 0 else (False,)

    def fits(forms, scales, harmonics):
        found = [
            _fit(values, form, season, period, count, is_log, burn)
            for count in harmonics
            for is_log in scales
            for form in forms
        ]
        return [model for model in found if model is not None]

    # The first form chooses the scale and the number of waves of all.
    first = min(fits(forms[:1], scales, harmonics), key=lambda model: model.aic, default=None)
    if first is None:
        return None
    rest = fits(forms[1:], (first.is_log,), (len(first.waves) // 2,))
    return min([first, *rest], key=lambda model: model.aic)


def _fit(
    values: np.ndarray,
    form: tuple[tuple[int, int, int], tuple[int, int, int], bool],
    season: int,
    period: float,
    harmonics: int,
    is_log: bool,
    burn: int,
) -> Arima | None:
    known = np.log(values) if is_log else values
    coefficients = _wave_coefficients(known, period, harmonics)
    rest = known - _waves(np.arange(len(values)), period, harmonics) @ coefficients
    seasonal_order = (*form[1], season if any(form[1]) else 0)
    trend = "c" if form[2] else "n"
    found = Arima(form[0], seasonal_order, trend, np.empty(0), is_log, period, coefficients, np.nan)
    with warnings.catch_warnings(), _one_thread():
        warnings.simplefilter("ignore")  # a fit that has not converged is still a baseline
        try:
            # Differences first keep the state small. `forecasts` has them in the state.
            model = _model(rest, found, simple_differencing=True)
            model.loglikelihood_burn = burn - form[0][1] - season * form[1][1]
            result = model.fit(disp=False, maxiter=50, cov_type="none")
        except (ValueError, np.linalg.LinAlgError):
            return None
    # The variance of the errors is a parameter as well.
    aic = 2 * (len(result.params) + 1 + len(coefficients)) - 2 * result.llf
    if is_log:  # the density of the values, not of their logarithms
        aic += 2 * np.nansum(known[burn:])
    if not np.isfinite(aic):
        return None
    return found._replace(params=np.asarray(result.params), aic=float(aic))


def _model(values: np.ndarray, of: Arima, **options: bool) -> Any:
    sarimax = require_module("statsmodels.tsa.statespace.sarimax")
    return sarimax.SARIMAX(
        values,
        order=of.order,
        seasonal_order=of.seasonal_order,
        trend=of.trend,
        concentrate_scale=True,
        **options,
    )


def _waves(steps: np.ndarray, period: float, harmonics: int) -> np.ndarray:
    """Sines and cosines (time, 2 * harmonics) of a season."""
    angle = 2 * np.pi * steps[:, None] * np.arange(1, harmonics + 1) / period
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(len(steps), -1)


def _wave_coefficients(values: np.ndarray, period: float, harmonics: int) -> np.ndarray:
    """Least squares of the changes of the values, which a trend does not disturb."""
    if not harmonics:
        return np.empty(0)
    changes = np.diff(values)
    known = ~np.isnan(changes)
    waves = np.diff(_waves(np.arange(len(values)), period, harmonics), axis=0)
    waves = np.concatenate([waves, np.ones((len(waves), 1))], axis=1)
    return np.linalg.lstsq(waves[known], changes[known], rcond=None)[0][:-1]


def _one_thread() -> contextlib.AbstractContextManager:
    """Limits linear algebra to one thread: the matrices are small, and threads only wait."""
    try:
        return importlib.import_module("threadpoolctl").threadpool_limits(1)
    except ModuleNotFoundError:
        return contextlib.nullcontext()
