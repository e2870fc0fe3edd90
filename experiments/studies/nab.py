"""Do forecasts of minimal cells find the anomalies of the Numenta benchmark, by its own scorer?

Command:  python experiments/studies/nab.py
Data:     rnnlab data get nab    (all of it: 58 series, 116 windows)
Device:   two cores of a shared x86 machine.
Result:   experiments/results/nab/rows.jsonl and figure.png, shown in docs/results.md.
Paper:    none of recurrent networks with these cells. Lavin and Ahmad (arXiv 1510.03336) define the
          scores. The benchmark's table has 39.6 for the windowed Gaussian, 11.0 for random scores.
Expected: the windowed Gaussian has 39.6, 20.9 and 47.4, as in that table. The likelihood of the
          errors of a forecast is above it, between 40 and 55 on the standard profile, for all
          cells alike; without the likelihood the errors are below the windowed Gaussian. The errors
          of the last value are between random scores and the windowed Gaussian. Added after the
          first result, in which the likelihood of changes from the last value won: without the
          forecast's scale the likelihood of a cell's errors is between 48 and 55, because the
          scale is large where a series changes, which hides changes.

Each series has a forecaster of its own, trained on its probation, the first 15% of it and at most
750 time steps: three quarters are fitted, the last quarter chooses the update. Nothing is learned
later. The settings are the same for all series; no other settings were tried. All forecasters are
trained in parallel, with one more axis on their parameters. A time step's error is relative to the
scale of the Student t distribution that was forecast for it; an unscaled error is in mean changes
of the probation.

The benchmark chooses each detector's threshold on the labels of the corpus that it reports, so its
scores compare detectors; they are too high for other data. Some labels are disputed.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import jax
import numpy as np
from matplotlib.figure import Figure
from nab_forecasters import forecast_errors, prepared  # next to this file

from rnnlab import ModelConfig, TrainConfig, provenance, records
from rnnlab.datasets import dataset_files
from rnnlab.plotting import cell_label, save_figure, series_colors
from rnnlab.records import Record
from rnnlab.tables import Table, device_labels, print_table
from rnnlab.tasks.readers.nab import LabelledSeries, read_nab
from rnnlab.tasks.reference import anomaly_detectors as detectors
from rnnlab.tasks.reference.nab_scores import PROFILES, nab_score, probation_length

OUT = Path(__file__).parent.parent / "results" / "nab" / "rows.jsonl"
CELLS, SEEDS = ("mingru", "minlstm", "gru", "lstm"), (0, 1, 2)
MODEL = ModelConfig(width=16, depth=1, expansion=1, mlp_expansion=2)
TRAIN = TrainConfig(
    steps=150, learning_rate=1e-2, weight_decay=0.01, schedule="cosine", warmup_steps=10
)
LABELS = {name: name.replace("_", " ").replace("fp", "FP").replace("fn", "FN") for name in PROFILES}
ERROR, LIKELIHOOD, SCORE = "error", "likelihood of errors", "own score"
UNSCALED_LIKELIHOOD = "likelihood of unscaled errors"


def likelihoods(errors: Sequence[np.ndarray], first: Sequence[int]) -> list[np.ndarray]:
    """Returns the likelihood of the errors of each series."""
    return [
        detectors.anomaly_likelihood(error, start)
        for error, start in zip(errors, first, strict=True)
    ]


def simple_detectors(corpus: Sequence[LabelledSeries]) -> list[tuple[str, str, int, list]]:
    """Returns the name, the kind of score, the seed and the scores of each simple detector."""
    found = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        scores = [rng.random(len(series.values)) for series in corpus]
        found.append(("random", SCORE, seed, scores))
    gaussian = [detectors.windowed_gaussian(series.values) for series in corpus]
    found.append(("windowed Gaussian", SCORE, 0, gaussian))
    lags: dict[str, Callable[[LabelledSeries], int]] = {
        "last value": lambda series: 1,
        "value a day before": _day,
    }
    for name, lag in lags.items():
        first = [lag(series) for series in corpus]
        errors = [detectors.naive_errors(x, k) for x, k in zip(corpus, first, strict=True)]
        found.append((name, ERROR, 0, errors))
        found.append((name, LIKELIHOOD, 0, likelihoods(errors, first)))
    return found


def _day(series: LabelledSeries) -> int:
    """The time steps of a day, or 1 where the probation is not longer."""
    day = detectors.steps_per_day(series)
    return day if day < probation_length(len(series.values)) else 1


def measured_scores(corpus: Sequence[LabelledSeries], scores: Sequence[np.ndarray]) -> Record:
    """Returns the scores of a detector on all profiles, and what it finds on the standard one."""
    found = {name: nab_score(corpus, scores, profile) for name, profile in PROFILES.items()}
    standard = found["standard"]
    return {
        "scores": {name: result.score for name, result in found.items()},
        "thresholds": {
            name: result.threshold if np.isfinite(result.threshold) else None
            for name, result in found.items()
        },
        "found": standard.found,
        "false_positives": standard.false_positives,
    }


def groups(measured: Sequence[Record]) -> list[list[Record]]:
    """Returns the records by detector and kind of score; seeds are one group."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in measured:
        found.setdefault((record["detector"], record["kind"]), []).append(record)
    return list(found.values())


def table(measured: Sequence[Record]) -> Table:
    """One table row per detector and kind of score, means and ranges over seeds."""
    headings = (
        "detector",
        "score of a time step",
        *LABELS.values(),
        "windows found",
        "false positives",
    )
    lines = []
    for group in groups(measured):
        texts = [_spread([r["scores"][name] for r in group], ".1f") for name in PROFILES]
        counts = [_spread([r[name] for r in group], ",.0f") for name in _COUNTS]
        windows = f"{counts[0]} of {group[0]['windows']}"
        seeds = f", {len(group)} seeds" if len(group) > 1 else ""
        lines.append((group[0]["detector"] + seeds, group[0]["kind"], *texts, windows, counts[1]))
    return Table(f"{device_labels(list(measured))}; {_title(measured)}", headings, lines)


_COUNTS = ("found", "false_positives")


def _title(measured: Sequence[Record]) -> str:
    return f"{measured[0]['series']} series; scores of the benchmark, mean and range over seeds"


def _spread(values: Sequence[float], form: str) -> str:
    if len(values) == 1:
        return format(values[0], form)
    low, high = format(min(values), form), format(max(values), form)
    return f"{mean(values):{form}} ({low} to {high})"


def figure(measured: Sequence[Record]) -> Figure:
    """The scores of each detector on each profile, with their range over seeds."""
    found = groups(measured)
    drawn = Figure(figsize=(8, 0.42 * len(found) + 1.6), layout="constrained")
    axes = drawn.subplots()
    colors = series_colors(list(PROFILES))
    for k, ((name, text), marker) in enumerate(zip(LABELS.items(), "osD", strict=True)):
        for row, group in enumerate(found):
            values = [record["scores"][name] for record in group]
            y, label = row + 0.2 * (k - 1), text if row == 0 else None
            axes.plot(mean(values), y, marker, color=colors[name], label=label, markersize=5)
            axes.plot([min(values), max(values)], [y, y], color=colors[name])
    names = [f"{group[0]['detector']}, {group[0]['kind']}" for group in found]
    axes.set_yticks(range(len(found)), names)
    axes.set(xlabel="score: 0 without detections, 100 perfect", xlim=(-2, 102))
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    for row in range(1, len(found)):
        axes.axhline(row - 0.5, color="0.85", linewidth=0.8)
    drawn.legend(loc="outside lower center", ncols=len(PROFILES))
    return drawn


def main() -> int:
    corpus = read_nab(dataset_files("nab")["nab"])
    series = [prepared(x) for x in corpus]
    measured = []

    def write(detector: str, kind: str, seed: int, scores: Sequence[np.ndarray], more: Record):
        record = {
            "benchmark": "nab",
            **provenance.environment(jax.devices()[0]),
            "detector": detector,
            "kind": kind,
            "seed": seed,
            "series": len(corpus),
            "windows": sum(len(x.windows) for x in corpus),
            **measured_scores(corpus, scores),
            **more,
        }
        records.append(OUT, record)
        measured.append(record)
        print(f"{detector}, {kind}, seed {seed}: {record['scores']}", flush=True)

    for name, kind, seed, scores in simple_detectors(corpus):
        write(name, kind, seed, scores, {})
    for cell in CELLS:
        for seed in SEEDS:
            start = time.perf_counter()
            config, train = MODEL.override({"cell": cell}), replace(TRAIN, seed=seed)
            errors = forecast_errors(series, config, train)
            more = {
                "cell": cell,
                "parameters": errors.parameters,
                "seconds": time.perf_counter() - start,
            }
            first = [x.fitted + 1 for x in series]
            for kind, scores in (
                (ERROR, errors.scaled),
                (LIKELIHOOD, likelihoods(errors.scaled, first)),
                (UNSCALED_LIKELIHOOD, likelihoods(errors.unscaled, first)),
            ):
                write(cell_label(cell), kind, seed, scores, more)
    save_figure(figure(measured), OUT.with_name("figure.png"))
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
