"""Figures of predictions: forecasts against the truth, and classes and values against theirs."""

from typing import TYPE_CHECKING

import numpy as np

from rnnlab.analysis.reliability import draw_reliability, reliability
from rnnlab.tasks.predictions import Predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PANELS = 6
"""Greatest number of series or columns that are drawn."""

MAX_CLASSES = 30
"""Greatest number of classes of a confusion matrix."""

TRUTH, FORECAST, BEYOND = "#333333", "#0072B2", "#D55E00"


def figure(predictions: Predictions) -> "Figure | None":
    """Returns a figure of predictions; None for labels and where no truth is known."""
    columns = predictions.columns
    if predictions.kind == "forecast":
        return _forecasts(columns)
    if predictions.kind == "class":
        names = np.unique([*columns["predicted"], *columns["actual"]])
        known = columns["actual"] != ""
        if known.any() and 2 <= len(names[names != ""]) <= MAX_CLASSES:
            return _classes({name: column[known] for name, column in columns.items()})
    if predictions.kind == "value":
        return _values(columns)
    return None


def _forecasts(columns) -> "Figure":
    """One panel per series and column: the truth, forecasts of known values, and beyond the end."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    count = len(columns["forecast"])
    series = columns.get("series", np.full(count, ""))
    column = columns.get("column", np.full(count, ""))
    panels = list(dict.fromkeys(zip(series.tolist(), column.tolist(), strict=True)))
    shown = panels[:MAX_PANELS]
    size = (8, 1 + 2.2 * len(shown)) if len(shown) > 1 else (8, 3.8)
    drawn = Figure(figsize=size, layout="constrained")
    moment = "date" if "date" in columns else "time_step"
    beyond = columns["origin"] == columns["origin"].max()
    for axes, panel in zip(
        np.atleast_1d(drawn.subplots(len(shown), sharex=True)), shown, strict=True
    ):
        mine = (series == panel[0]) & (column == panel[1])
        past, future = mine & ~beyond, mine & beyond
        known = mine & ~np.isnan(columns["actual"])
        axes.plot(
            columns[moment][known], columns["actual"][known], color=TRUTH, lw=1.2, label="truth"
        )
        for k, origin in enumerate(np.unique(columns["origin"][past])):
            one = past & (columns["origin"] == origin)
            label = "forecast from earlier origins" if k == 0 else None
            axes.plot(
                columns[moment][one], columns["forecast"][one], color=FORECAST, lw=1.2, label=label
            )
            axes.plot(columns[moment][one][:1], columns["forecast"][one][:1], ".", color=FORECAST)
        style = {"color": BEYOND, "lw": 1.8, "marker": "."}
        label = "forecast beyond the data"
        axes.plot(columns[moment][future], columns["forecast"][future], label=label, **style)
        axes.set_ylabel(", ".join(name for name in panel if name) or "value")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    if moment == "date":
        locator = AutoDateLocator()
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    else:
        axes.set_xlabel("time step")
    handles, labels = drawn.axes[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    if len(panels) > len(shown):
        drawn.supxlabel(f"The first {len(shown)} of {len(panels)} series", fontsize="medium")
    return drawn


def _classes(columns) -> "Figure":
    """The confusion matrix; of two classes also the reliability of the second's probability."""
    from matplotlib.figure import Figure

    actual, predicted = columns["actual"], columns["predicted"]
    probabilities = [name for name in columns if name.startswith("p(")]
    is_binary = len(probabilities) == 2
    names, codes = np.unique(np.concatenate([actual, predicted]), return_inverse=True)
    size = 2.5 + 0.4 * len(names)
    width = 9.0 if is_binary else size + 1
    drawn = Figure(figsize=(width, 4 if is_binary else size), layout="constrained")
    panels = np.atleast_1d(drawn.subplots(1, 1 + is_binary))
    _draw_confusion(panels[0], names, codes)
    if is_binary:
        event = probabilities[1][2:-1]
        found = reliability(columns[probabilities[1]], actual == event)
        draw_reliability(panels[1], found, event)
    return drawn


def _draw_confusion(axes: "Axes", names: np.ndarray, codes: np.ndarray) -> None:
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, tuple(np.split(codes, 2)), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = np.arange(len(names))
    axes.set_xticks(ticks, names, rotation=45 if max(map(len, names)) > 2 else 0)
    axes.set_yticks(ticks, names)
    axes.set(xlabel="predicted class", ylabel="actual class")
    for (row, col), count in np.ndenumerate(counts):
        if count and len(names) <= 12:
            color = "white" if shares[row, col] > 0.5 else "black"
            axes.text(col, row, count, ha="center", va="center", color=color, fontsize="small")
    axes.figure.colorbar(image, ax=axes, label="share of the actual class", shrink=0.8)


def _values(columns) -> "Figure | None":
    from matplotlib.figure import Figure

    names = [name for name in columns if name.startswith("predicted")][:MAX_PANELS]
    truths = [name.replace("predicted", "actual") for name in names]
    if all(np.isnan(columns[name]).all() for name in truths):
        return None
    drawn = Figure(figsize=(4.2 * len(names), 4), layout="constrained")
    panels = np.atleast_1d(drawn.subplots(1, len(names)))
    for axes, name, truth in zip(panels, names, truths, strict=True):
        known = ~np.isnan(columns[truth])
        axes.plot(columns[truth][known], columns[name][known], ".", color=FORECAST, alpha=0.6)
        _draw_diagonal(axes)
        axes.set(xlabel=truth, ylabel=name)
    return drawn


def _draw_diagonal(axes: "Axes") -> None:
    low = min(axes.get_xlim()[0], axes.get_ylim()[0])
    high = max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([low, high], [low, high], color=TRUTH, lw=1, label="equal")
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
