"""Do ETS and ARIMA, fitted to each of 414 hourly series, beat one recurrent model of all of them?

Command:  python experiments/studies/load_classical.py
Data:     rnnlab data get m4-hourly
Device:   one core of a shared x86 machine; half an hour.
Result:   experiments/results/load_classical/rows.jsonl, shown in docs/results.md.
Paper:    the competition's table has a MASE of 1.824 for ETS and of 0.943 for ARIMA, an MSIS of
          17.49 and 7.538, by other implementations.
Expected: ARIMA has a MASE of about 1 and is behind the recurrent models of `load_forecast`; ETS is
          behind the seasonal naive forecast, 1.193.

Each series has a model of its own, chosen by AIC: see `rnnlab.tasks.reference.ets` and `arima`. The
season has 24 hours; neither model has a week. The quantiles are those of normal distributions
around the forecast, whose deviation at each hour ahead is that of the errors of the same model in
the fitted part. The forecasts are of the official test part, as in `load_forecast`.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from scipy.stats import norm

from rnnlab import provenance, records
from rnnlab.bench.base import Column, key_column, make_table
from rnnlab.records import Record
from rnnlab.tables import Table, print_table
from rnnlab.tasks.many_series import LEVELS, ManySeries
from rnnlab.tasks.reference.arima import fit_arima
from rnnlab.tasks.reference.ets import fit_ets
from rnnlab.tasks.reference.forecast_scores import SCORES, Forecast, Outcome, seasonal_scale
from rnnlab.tasks.reference.interval_forecasts import with_normal_intervals

OUT = Path(__file__).parent.parent / "results" / "load_classical" / "rows.jsonl"
HORIZON, SEASON = 48, 24
METHODS: dict[str, Callable] = {
    "ETS": lambda values: fit_ets(values, SEASON),
    "ARIMA": lambda values: fit_arima(values, SEASON, float(SEASON)),
}
COLUMNS = (
    key_column("method"),
    *(Column(name, lambda r, name=name: f"{r['scores'][name]:.4f}") for name in SCORES),
    Column("not fitted", lambda r: str(r["not_fitted"])),
    Column("CPU seconds", lambda r: f"{r['cpu_seconds']:,.0f}"),
)


def with_past_errors(values: np.ndarray, made: np.ndarray) -> Forecast:
    """Returns the last forecast with the deviation of the errors of the earlier ones.

    Args:
      values: (time,), the fitted part.
      made: (time, horizon), the forecasts from every time step.
    """
    horizon = made.shape[1]
    deviation = np.empty(horizon)
    for h in range(horizon):
        # After the first two seasons, in which the states settle.
        error = values[2 * SEASON + h + 1 :] - made[2 * SEASON : len(values) - h - 1, h]
        deviation[h] = np.sqrt(np.nanmean(np.square(error)))
    spread = np.maximum(deviation, 1e-9)[:, None] * norm.ppf(np.array(LEVELS))
    return Forecast(made[-1][:, None] + spread, LEVELS)


def classical_forecast(values: np.ndarray, fit: Callable) -> Forecast | None:
    """Returns the forecast of a fitted model; None if none is fitted or it is not finite."""
    model = fit(values)
    if model is None:
        return None
    made = with_past_errors(values, model.forecasts(values, HORIZON))
    return made if np.isfinite(made.quantiles).all() else None


def table(measured: Sequence[Record]) -> Table:
    """One table row per method."""
    return make_table(f"{measured[0]['series']} series", COLUMNS, measured, ())


def main() -> int:
    task = ManySeries()
    past, future = task.read()
    outcomes = [
        Outcome(y[len(x) :], seasonal_scale(x, SEASON)) for x, y in zip(past, future, strict=True)
    ]
    measured = []
    for method, fit in METHODS.items():
        start, not_fitted, forecasts = time.process_time(), 0, []
        for values in past:
            forecast = classical_forecast(values, fit)
            not_fitted += forecast is None
            naive = with_normal_intervals(values, HORIZON, SEASON, LEVELS)
            forecasts.append(forecast or naive)
        record = {
            "benchmark": "load_classical",
            **provenance.environment(jax.devices()[0]),
            "method": method,
            "series": len(past),
            "scores": {name: score(forecasts, outcomes) for name, score in SCORES.items()},
            "not_fitted": not_fitted,
            "cpu_seconds": time.process_time() - start,
        }
        records.append(OUT, record)
        measured.append(record)
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
