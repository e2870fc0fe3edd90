"""Are predicted probabilities of death calibrated, of a minimal cell and of boosted trees?

Command:  python experiments/studies/icu_reliability.py RUN
Device:   one core of a shared x86 machine; a minute.
Result:   experiments/results/icu_reliability/rows.jsonl and figure.png, shown in docs/results.md.
Paper:    none; the challenge of 2012 scored calibration with a statistic of deciles.
Expected: both are close to the diagonal below 0.5, where most stays are, since both minimize the
          log loss without class weights.

RUN is a run of experiments/training/icu_mortality.py. The stays are those of set c, which neither
trained nor chose anything.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax
from matplotlib.figure import Figure

from rnnlab import provenance, records
from rnnlab.analysis.reliability import Reliability, draw_reliability, reliability
from rnnlab.bench.base import Column, key_column, make_table
from rnnlab.plotting import cell_label, save_figure
from rnnlab.records import Record
from rnnlab.runs.api import load_run
from rnnlab.runs.trained_model import load
from rnnlab.tables import Table, device_labels, print_table
from rnnlab.tasks.record_parts import icu_parts
from rnnlab.tasks.reference.risk import boosted_trees, summaries

OUT = Path(__file__).parent.parent / "results" / "icu_reliability" / "rows.jsonl"
EVENT, TREES = "died", "boosted trees"
COLUMNS = (
    key_column("predictor"),
    Column("mean predicted p", lambda r: f"{r['predicted']:.3f}"),
    Column("share of deaths", lambda r: f"{r['observed']:.3f}"),
    Column("95% interval", lambda r: f"{r['low']:.3f} to {r['high']:.3f}"),
    Column("stays", lambda r: f"{r['count']:,}"),
)


def table(measured: Sequence[Record]) -> Table:
    """One table row per predictor and bin of the predicted probability."""
    title = f"{device_labels(list(measured))}; set c, 4,000 stays"
    return make_table(title, COLUMNS, measured, ())


def figure(measured: Sequence[Record]) -> Figure:
    """One panel per predictor."""
    predictors = list(dict.fromkeys(record["predictor"] for record in measured))
    drawn = Figure(figsize=(4.6 * len(predictors), 4), layout="constrained")
    panels = drawn.subplots(1, len(predictors), squeeze=False)[0]
    for axes, predictor in zip(panels, predictors, strict=True):
        bins = [record for record in measured if record["predictor"] == predictor]
        names = ("predicted", "observed", "low", "high", "count")
        draw_reliability(axes, Reliability.of([[r[name] for r in bins] for name in names]), EVENT)
        axes.set_title(predictor, pad=16)
    return drawn


def main(folder: Path) -> int:
    _, _, experiment = load_run(folder)
    found = load(folder).predict()
    actual = found.columns["actual"] == EVENT
    train, _, test = icu_parts(experiment.data.path, experiment.data.interval)
    tables = (summaries(part.steps, part.descriptors) for part in (train, test))
    train_table, test_table = tables
    trees = boosted_trees(train_table, train.targets == 1, test_table)
    cell = cell_label(experiment.model.cell)
    measured = []
    for predictor, probability in ((cell, found.columns[f"p({EVENT})"]), (TREES, trees)):
        bins = reliability(probability, actual)
        for predicted, observed, low, high, count in zip(*bins, strict=True):
            record = {
                "benchmark": "icu_reliability",
                **provenance.environment(jax.devices()[0]),
                "cell": experiment.model.cell,
                "predictor": predictor,
                "predicted": float(predicted),
                "observed": float(observed),
                "low": float(low),
                "high": float(high),
                "count": int(count),
                "seed": experiment.train.seed,
            }
            records.append(OUT, record)
            measured.append(record)
    save_figure(figure(measured), OUT.with_name("figure.png"))
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
