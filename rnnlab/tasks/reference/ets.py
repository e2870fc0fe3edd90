"""Exponential smoothing (ETS), fitted once and rolled over a series as a baseline of forecasts."""

import warnings
from dataclasses import dataclass

import numpy as np

from rnnlab.optional import require_module

MAX_FITTED_STEPS = 1000
"""Time steps, the last of the training part, to which the models are fitted."""

MAX_ESTIMATED_SEASON = 24
"""Longest season whose initial states are estimated with the model; others are heuristic."""

# Error, trend and season, each additive ("add") or multiplicative ("mul"), and damping.
_ADDITIVE = [
    ("add", trend, season, damped)
    for season in (None, "add")
    for trend, damped in ((None, False), ("add", False), ("add", True))
]
_MULTIPLICATIVE = [("mul", *form[1:2], "mul" if form[2] else None, form[3]) for form in _ADDITIVE]


@dataclass(frozen=True)
class ExponentialSmoothing:
    """A fitted model: its form, its smoothing parameters, and its states before the first step.

    Attributes:
      is_multiplicative: whether errors and seasons multiply.
      level, trend, seasonal: smoothing parameters; 0 without that component.
      damping: factor of the trend per time step.
      initial_level, initial_trend: states before the first time step.
      initial_season: (season,) of the first season; one 0, or 1 if multiplicative, without season.
      aic: Akaike's information criterion of the fit.
    """

    is_multiplicative: bool
    level: float
    trend: float
    seasonal: float
    damping: float
    initial_level: float
    initial_trend: float
    initial_season: np.ndarray
    aic: float

    def forecasts(self, values: np.ndarray, horizon: int) -> np.ndarray:
        """Returns the forecasts from every time step, with fixed parameters.

        A missing value leaves the states where their own forecast brings them.

        Args:
          values: (time,), from the first fitted time step, NaN where missing.
          horizon: time steps ahead.

        Returns:
          (time, horizon).
        """
        season = list(self.initial_season)
        level, trend, count = self.initial_level, self.initial_trend, len(season)
        made = np.empty((len(values), horizon))
        ahead = np.arange(1, horizon + 1)
        damped = np.cumsum(self.damping**ahead)
        for t, x in enumerate(values):
            position = t % count
            base = level + self.damping * trend
            slope = self.damping * trend
            old = season[position]
            expected = base * old if self.is_multiplicative else base + old
            error = 0.0 if np.isnan(x) else x - expected
            if self.is_multiplicative:
                error = error / expected if expected else 0.0
                level, trend = base * (1 + self.level * error), slope + self.trend * base * error
                if self.seasonal and level and not np.isnan(x):
                    # Relative to the new level, as the model is fitted.
                    share = self.seasonal / (1 - self.level)
                    season[position] += share * (x / level - old)
            else:
                level, trend = base + self.level * error, slope + self.trend * error
                season[position] += self.seasonal * error
            seasons = np.array(season)[(t + ahead) % count]
            line = level + damped * trend
            made[t] = line * seasons if self.is_multiplicative else line + seasons
        return made


def fit_ets(values: np.ndarray, season: int) -> ExponentialSmoothing | None:
    """Returns the model with the lowest AIC, fitted by maximum likelihood.

    The candidates have an additive error, without trend, with a trend or with a damped one, and
    without season or with an additive one; for positive values also the same with multiplicative
    errors and seasons. The initial states count as parameters. Gaps are interpolated for the fit.

    Args:
      values: (time,), the training part, NaN where missing.
      season: time steps per season; 1 without season.

    Returns:
      The model, or None if there are fewer than 10 values or no model can be fitted.

    Raises:
      ValueError: statsmodels is not installed.

    Source: Hyndman, Koehler, Ord and Snyder, "Forecasting with Exponential Smoothing" (2008).
    """
    known = np.flatnonzero(~np.isnan(values))
    if len(known) < 10 or np.ptp(values[known]) == 0:
        return None
    filled = np.interp(np.arange(len(values)), known, values[known])
    forms = _ADDITIVE + (_MULTIPLICATIVE if filled.min() > 0 else [])
    if season == 1 or len(filled) < max(2 * season, 10):
        forms = [form for form in forms if form[2] is None]
    fitted = [(form, _fit(filled, form, season, "heuristic")) for form in forms]
    fitted = [(form, model) for form, model in fitted if model is not None]
    if not fitted:
        return None
    form, best = min(fitted, key=lambda pair: pair[1].aic)
    if form[2] is None or season <= MAX_ESTIMATED_SEASON:
        best = _fit(filled, form, season, "estimated") or best
    return best


def _fit(
    values: np.ndarray,
    form: tuple[str, str | None, str | None, bool],
    season: int,
    initialization: str,
) -> ExponentialSmoothing | None:
    ets = require_module("statsmodels.tsa.exponential_smoothing.ets")
    error, trend, seasonal, damped = form
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that has not converged is still a baseline
        try:
            model = ets.ETSModel(
                values,
                error=error,
                trend=trend,
                damped_trend=damped,
                seasonal=seasonal,
                seasonal_periods=season if seasonal else None,
                initialization_method=initialization,
            )
            found = model.fit(disp=False, maxiter=100)
        except (ValueError, np.linalg.LinAlgError):
            return None
    free = 3 + 2 * (trend is not None) + damped + season * (seasonal is not None)
    aic = 2 * free - 2 * found.llf
    if not np.isfinite(aic):
        return None
    is_multiplicative = error == "mul"
    neutral = 1.0 if is_multiplicative else 0.0
    start = found.initial_seasonal if seasonal else [neutral]
    return ExponentialSmoothing(
        is_multiplicative,
        found.smoothing_level,
        found.smoothing_trend if trend else 0.0,
        found.smoothing_seasonal if seasonal else 0.0,
        found.damping_trend if damped else 1.0,
        found.initial_level,
        found.initial_trend if trend else 0.0,
        np.asarray(start, np.float64),
        float(aic),
    )
