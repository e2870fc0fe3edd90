"""The figure of the experiment on rare heartbeats: scores by class, by patient and at random."""

from collections.abc import Mapping, Sequence
from statistics import mean

from committed_records import committed_records  # next to this file
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnlab.plotting import cell_label, series_colors
from rnnlab.records import Record

SCORES = {
    "f1": "macro-F1",
    "average_precision/V": "average precision of V",
    "average_precision/S": "average precision of S",
    "average_precision/F": "average precision of F",
}
MARKERS = ("s", "D", "^")


def scores_figure(records: Sequence[Record]) -> Figure:
    """Draws the records next to those of the random split."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    _panel(left, records, "New patients")
    random = committed_records("rare_beats_random_split")
    _panel(right, random, "Random split, the same patients: too high")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _panel(axes: Axes, records: Sequence[Record], title: str) -> None:
    cells = list(dict.fromkeys(record["cell"] for record in records))
    baselines = [name for name in records[0]["baselines"] if name.startswith("boosting")]
    colors = series_colors(cells)
    count = len(baselines) + len(cells)
    for k, name in enumerate(baselines):
        _points(
            axes, [records[0]["baselines"][name]], k, count,
            color="0.35", marker=MARKERS[k % len(MARKERS)], label=name,
        )  # fmt: skip
    for k, cell in enumerate(cells, len(baselines)):
        seeds = [list(r["metrics"].values())[-1] for r in records if r["cell"] == cell]
        label = f"{cell_label(cell)}, {len(seeds)} seeds"
        _points(axes, seeds, k, count, color=colors[cell], marker="o", label=label)
    axes.set(title=title, xlim=(0, 1.02), xlabel="test score", ylim=(len(SCORES) - 0.5, -0.5))
    axes.set_yticks(range(len(SCORES)), SCORES.values())
    axes.grid(axis="x", alpha=0.3)
    for k in range(1, len(SCORES)):
        axes.axhline(k - 0.5, color="0.8", linewidth=0.8)


def _points(
    axes: Axes, members: Sequence[Mapping[str, float]], k: int, count: int, **style: str
) -> None:
    """Draws the mean over seeds and their range, in one row per score."""
    label = style.pop("label")
    for row, score in enumerate(SCORES):
        values = [member[score] for member in members]
        y = row + 0.7 * ((k + 0.5) / count - 0.5)
        axes.plot(mean(values), y, linestyle="", label=None if row else label, **style)
        axes.plot([min(values), max(values)], [y, y], color=style["color"], linewidth=1.5)
