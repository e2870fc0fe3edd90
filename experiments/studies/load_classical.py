"""Do ETS and ARIMA, fitted to each series, beat one recurrent model of 414 hourly series?

Command:  python experiments/studies/load_classical.py RUN [RUN ...]
Data:     rnnlab data get m4-hourly    (every eighth series: 52 of 414)
Device:   one core of a shared x86 machine; three minutes of it, half an hour on a busy machine.
Result:   experiments/results/load_classical/rows.jsonl, shown in docs/results.md.
Paper:    the competition's table has, for all series, a MASE of 1.824 for ETS and of 0.943 for
          ARIMA, an MSIS of 17.49 and 7.538, by other implementations.
Expected: ARIMA has a MASE of about 1 and is behind the recurrent models of `load_forecast`; ETS is
          behind the seasonal naive forecast.

A RUN is one of experiments/training/load_forecast.py; its forecasts of the same series are scored.
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
from load_pit import forecasts  # next to this file
from scipy.stats import norm

from rnnlab import provenance, records
from rnnlab.bench.base import Column, key_column, make_table
from rnnlab.plotting import cell_label
from rnnlab.records import Record
from rnnlab.runs.api import load_run
from rnnlab.tables import Table, device_labels, print_table
from rnnlab.tasks.many_series import LEVELS, ManySeries
from rnnlab.tasks.reference.arima import fit_arima
from rnnlab.tasks.reference.ets import fit_ets
from rnnlab.tasks.reference.forecast_scores import SCORES, Forecast, Outcome, seasonal_scale
from rnnlab.tasks.reference.interval_forecasts import with_normal_intervals

OUT = Path(__file__).parent.parent / "results" / "load_classical" / "rows.jsonl"
EVERY = 8
"""The study takes every eighth series: all of them take 20 minutes of a core."""
HORIZON, SEASON = 48, 24
METHODS: dict[str, Callable] = {
    "ETS": lambda values: fit_ets(values, SEASON),
    "ARIMA": lambda values: fit_arima(values, SEASON, float(SEASON)),
}
COLUMNS = (
    key_column("method"),
    *(Column(name, lambda r, name=name: f"{r['scores'][name]:.4f}") for name in SCORES),
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


def classical_forecast(values: np.ndarray, fit: Callable) -> Forecast:
    """Returns the forecast of a fitted model, or the seasonal naive one where none is finite."""
    model = fit(values)
    if model is not None:
        # A fitted part of up to 1000 values is the whole past of these series.
        made = with_past_errors(values, model.forecasts(values, HORIZON))
        if np.isfinite(made.quantiles).all():
            return made
    return with_normal_intervals(values, HORIZON, SEASON, LEVELS)


def table(measured: Sequence[Record]) -> Table:
    """One table row per method."""
    title = f"{device_labels(list(measured))}; {measured[0]['series']} of 414 series"
    return make_table(title, COLUMNS, measured, ())


def main(folders: Sequence[Path]) -> int:
    past, future = (part[::EVERY] for part in ManySeries().read())
    outcomes = [
        Outcome(y[len(x) :], seasonal_scale(x, SEASON)) for x, y in zip(past, future, strict=True)
    ]
    measured = []

    def write(method: str, made: Sequence[Forecast], seconds: float, seed: int | None = None):
        record = {
            "benchmark": "load_classical",
            **provenance.environment(jax.devices()[0]),
            "method": method,
            "series": len(past),
            "scores": {name: score(made, outcomes) for name, score in SCORES.items()},
            "cpu_seconds": seconds,
            "seed": seed,
        }
        records.append(OUT, record)
        measured.append(record)
        print(method, record["scores"], flush=True)

    for folder in folders:
        start = time.process_time()
        _, _, experiment = load_run(folder)
        made, _ = forecasts(folder)
        name = f"{cell_label(experiment.model.cell)}, seed {experiment.train.seed}"
        seconds = time.process_time() - start
        write(name, made[::EVERY], seconds, experiment.train.seed)
    naive = [with_normal_intervals(values, HORIZON, SEASON, LEVELS) for values in past]
    write("seasonal naive", naive, 0.0)
    for method, fit in METHODS.items():
        start = time.process_time()
        made = [classical_forecast(values, fit) for values in past]
        write(method, made, time.process_time() - start)
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
