"""Are the forecast distributions of 414 hourly series calibrated?

Command:  python experiments/studies/load_pit.py RUN [RUN ...]
Data:     rnnlab data get m4-hourly
Device:   one core of a shared x86 machine; a minute.
Result:   experiments/results/load_pit/rows.jsonl and figure.png, shown in docs/results.md.
Paper:    none.
Expected: too many values are outside of the outermost quantiles of the models, 7% to 8% instead of
          5%, since these have fewer values inside the 95% interval; between them the quantiles are
          close to uniform. The normal intervals of the seasonal naive forecast are too wide: its
          histogram has a hump.

A RUN is one of experiments/training/load_forecast.py. The values are those of the official test
part: 48 hours of each series.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

from rnnlab import provenance, records
from rnnlab.analysis.calibration import PitHistogram, draw_pit, pit_histogram
from rnnlab.bench.base import Column, key_column, make_table
from rnnlab.plotting import cell_label, save_figure
from rnnlab.records import Record
from rnnlab.runs.api import load_run
from rnnlab.runs.trained_model import load
from rnnlab.tables import Table, device_labels, print_table
from rnnlab.tasks.many_series import LEVELS, ManySeries
from rnnlab.tasks.reference.forecast_scores import Forecast, Outcome, pit_values
from rnnlab.tasks.reference.interval_forecasts import with_normal_intervals
from rnnlab.train.evaluate import make_predict

OUT = Path(__file__).parent.parent / "results" / "load_pit" / "rows.jsonl"
NAIVE = "seasonal naive"
HEADS = {"quantiles": "quantiles", "student_t": "Student t"}
BINS = [f"{low:g} to {high:g}" for low, high in zip((0, *LEVELS), (*LEVELS, 1), strict=True)]
COLUMNS = (
    key_column("forecast"),
    *(
        Column(name, lambda r, k=k: f"{r['shares'][k] / (r['edges'][k + 1] - r['edges'][k]):.2f}")
        for k, name in enumerate(BINS)
    ),
)


def table(measured: Sequence[Record]) -> Table:
    """One table row per forecast: its density in each bin, 1 where it is calibrated."""
    title = f"{device_labels(list(measured))}; density of {measured[0]['count']:,} PIT values"
    return make_table(title, COLUMNS, measured, ())


def figure(measured: Sequence[Record]) -> Figure:
    """One panel per forecast."""
    drawn = Figure(figsize=(3.4 * len(measured), 3.4), layout="constrained")
    panels = drawn.subplots(1, len(measured), sharey=True, squeeze=False)[0]
    for axes, record in zip(panels, measured, strict=True):
        draw_pit(axes, PitHistogram(np.array(record["edges"]), np.array(record["shares"])))
        axes.set_title(record["forecast"])
    for axes in panels[1:]:
        axes.set_ylabel("")
    return drawn


def forecasts(folder: Path) -> tuple[list[Forecast], list[Outcome]]:
    """Returns the forecasts of a run for the test part, and what happened."""
    trained = load(folder)
    graphdef, params = nnx.split(trained.model, nnx.Param)
    predict = make_predict(graphdef)
    *_, batches = trained.data.eval_sets.values()
    pairs = [
        pair
        for batch in batches()
        for pair in trained.data.decode(np.asarray(predict(params, batch)), batch)
    ]
    return [forecast for forecast, _ in pairs], [outcome for _, outcome in pairs]


def naive_forecasts(task: ManySeries) -> list[Forecast]:
    """Returns the seasonal naive forecasts of the test part, with normal intervals."""
    past, _ = task.read()
    return [with_normal_intervals(x, task.horizon, task.season, LEVELS) for x in past]


def main(folders: Sequence[Path]) -> int:
    measured = []
    for folder in folders:
        _, _, experiment = load_run(folder)
        made, outcomes = forecasts(folder)
        named = [
            (
                f"{cell_label(experiment.model.cell)}, {HEADS[experiment.data.head]}",
                made,
                experiment,
            )
        ]
        if folder == folders[-1]:
            named.append((NAIVE, naive_forecasts(experiment.data), None))
        for name, of, run in named:
            values = pit_values(of, outcomes)
            found = pit_histogram(values, LEVELS)
            record = {
                "benchmark": "load_pit",
                **provenance.environment(jax.devices()[0]),
                "forecast": name,
                "edges": found.edges.tolist(),
                "shares": found.shares.tolist(),
                "count": len(values),
                "seed": None if run is None else run.train.seed,
            }
            records.append(OUT, record)
            measured.append(record)
    save_figure(figure(measured), OUT.with_name("figure.png"))
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
