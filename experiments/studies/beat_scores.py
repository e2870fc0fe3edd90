"""Which part of a forecast finds early heartbeats: its location, or its scale?

Command:  python experiments/studies/beat_scores.py RUN [RUN ...]
Data:     rnnlab data get mitbih
Device:   one core of a shared x86 machine, ten seconds per run.
Result:   experiments/results/beat_scores/rows.jsonl, shown in docs/results.md.
Paper:    none of minimal cells.
Expected: written after a look at two runs: the forecast location is worth nothing, because how
          early a beat comes is relative to ten intervals before it and has the rhythm already; the
          forecast scale makes the score worse, because it is large where a rhythm is irregular,
          which is where supraventricular beats are.

A RUN is one of experiments/training/beat_anomalies.py. The score of supraventricular beats (S) is
how much earlier than forecast a beat comes, in units of the forecast's scale. Here the location of
the forecast is replaced by the patient's usual interval, its scale by a constant, or both. With
both the score is how early a beat comes, one of the experiment's baselines.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

from rnnlab import provenance, records
from rnnlab.bench.base import Column, make_table
from rnnlab.plotting import cell_label, save_figure, series_colors
from rnnlab.records import Record
from rnnlab.runs.api import load_run
from rnnlab.runs.trained_model import load
from rnnlab.tables import Table, device_labels, print_table
from rnnlab.tasks.reference.anomaly_scores import RANKING_METRICS
from rnnlab.train.evaluate import make_predict

OUT = Path(__file__).parent.parent / "results" / "beat_scores" / "rows.jsonl"
METRICS = [name for name in RANKING_METRICS if name.endswith("/S")]
CONSTANT = {
    "location and scale": (),
    "location": ("scale",),
    "scale": ("location",),
    "neither": ("location", "scale"),
}
"""What the score has of the forecast, and the outputs that are constant."""

HEADINGS = ("average precision", "area under the ROC curve", "false alarms per hour")
COLUMNS = (
    Column("cell", lambda r: cell_label(r["cell"])),
    Column("used of the forecast", lambda r: r["used"]),
    *(
        Column(heading, lambda r, name=name: _with_spread(r["scores"][name]))
        for heading, name in zip(HEADINGS, METRICS, strict=True)
    ),
)


def with_constants(outputs: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Returns outputs of a Student t head whose named part is 0 for the interval, feature 0.

    An output of 0 is the patient's usual interval as location, and a constant as scale.
    """
    changed = outputs.copy()
    for name in names:
        changed[..., {"location": 0, "scale": outputs.shape[-1] // 3}[name]] = 0
    return changed


def scores(folder: Path) -> dict[str, dict[str, float]]:
    """Returns the metrics of S on the test part, by what the score has of the forecast."""
    trained = load(folder)
    graphdef, params = nnx.split(trained.model, nnx.Param)
    predict = make_predict(graphdef)
    *_, batches = trained.data.eval_sets.values()
    made = [(np.asarray(predict(params, batch)), batch) for batch in batches()]
    found = {}
    for used, constant in CONSTANT.items():
        beats = [
            scored
            for outputs, batch in made
            for scored, _ in trained.data.decode(with_constants(outputs, constant), batch)
        ]
        found[used] = {name: RANKING_METRICS[name][0](beats, ()) for name in METRICS}
    return found


def groups(measured: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """Returns the records of all seeds, by cell and what is used of the forecast."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in measured:
        found.setdefault((record["cell"], record["used"]), []).append(record)
    return found


def table(measured: Sequence[Record]) -> Table:
    """One table row per cell and score: mean and standard deviation over seeds."""
    rows = [
        {
            "cell": cell,
            "used": used,
            "scores": {name: [r["scores"][name] for r in found] for name in METRICS},
        }
        for (cell, used), found in groups(measured).items()
    ]
    title = f"{device_labels(list(measured))}; mean ± standard deviation over seeds"
    return make_table(title, COLUMNS, rows, ())


def _with_spread(values: Sequence[float]) -> str:
    digits = 3 if max(values) < 1 else 0
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def figure(measured: Sequence[Record]) -> Figure:
    """The average precision of each score, for each cell, with the range over seeds."""
    drawn = Figure(figsize=(7.5, 2.6), layout="constrained")
    axes = drawn.subplots()
    cells = list(dict.fromkeys(record["cell"] for record in measured))
    colors = series_colors(cells)
    names = list(CONSTANT)
    for (cell, used), found in groups(measured).items():
        values = [record["scores"][METRICS[0]] for record in found]
        y = names.index(used) + 0.2 * (cells.index(cell) - (len(cells) - 1) / 2)
        label = cell_label(cell) if used == names[0] else None
        axes.plot(np.mean(values), y, "o", color=colors[cell], label=label, markersize=6)
        axes.plot([min(values), max(values)], [y, y], color=colors[cell])
    axes.set_yticks(range(len(names)), names)
    axes.set_ylabel("used of the forecast")
    axes.set_xlabel("average precision of supraventricular beats (higher is better)")
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    drawn.legend(loc="outside right")
    return drawn


def main(folders: Sequence[Path]) -> int:
    measured = []
    for folder in folders:
        _, _, experiment = load_run(folder)
        print(folder.name, flush=True)
        for used, of in scores(folder).items():
            record = {
                "benchmark": "beat_scores",
                **provenance.environment(jax.devices()[0]),
                "cell": experiment.model.cell,
                "used": used,
                "scores": of,
                "seed": experiment.train.seed,
            }
            records.append(OUT, record)
            measured.append(record)
    save_figure(figure(measured), OUT.with_name("figure.png"))
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
