"""Heat maps of the analyses: gates, texts and attention weights."""

from collections.abc import Mapping, Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

MAX_UNITS = 40
"""Most units that a heat map shows: those that vary most."""
CHARS_PER_ROW = 64
"""Characters per line of a text figure."""


def gate_figure(
    gates: Mapping[str, ArrayLike],
    labels: Sequence[str] | None = None,
    *,
    title: str = "Gates",
    colorbar_label: str = "value of the gate",
    meanings: Mapping[str, str] | None = None,
    limits: tuple[float, float] = (0, 1),
    first_step: int = 0,
) -> Figure:
    """Gates over a sequence as heat maps, one per gate.

    Args:
      gates: (time, features) by name, from `gate_values` of one sequence. At most `MAX_UNITS`
        features are drawn, those that vary most, ordered by their mean.
      labels: the symbol read at each time step; None numbers the time steps.
      title: title of the figure.
      colorbar_label: label of the color bar.
      meanings: what the ends of each gate do, from `rnnlab.analysis.gates.gate_meaning`.
      limits: values at the ends of the color bar.
      first_step: number of the first time step.

    >>> figure = gate_figure({"z": np.full((4, 8), 0.5)}, list("scan"))
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['s', 'c', 'a', 'n']
    """
    figure = Figure(figsize=(11, 0.7 + 2.7 * len(gates)), layout="constrained")
    panels = figure.subplots(len(gates), 1, squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, gates.items(), strict=True):
        shown = _most_varied(np.asarray(values, np.float64))
        end, units = first_step + len(shown) - 0.5, shown.shape[1] - 0.5
        place = {"aspect": "auto", "extent": (first_step - 0.5, end, units, -0.5)}
        image = axes.imshow(shown.T, cmap="viridis", vmin=limits[0], vmax=limits[1], **place)
        meaning = (meanings or {}).get(name)
        name = f"{name}: {meaning}" if meaning else name
        axes.set_title(name, fontsize=10)
        axes.set_ylabel("units, ordered by mean")
        axes.set_yticks([])
        _label_steps(axes, labels, len(shown), first_step)
    figure.colorbar(image, ax=list(panels), label=colorbar_label)
    figure.suptitle(title, fontsize=11)
    return figure


def text_figure(
    labels: Sequence[str], values: ArrayLike, *, title: str, colorbar_label: str
) -> Figure:
    """A text whose characters are colored by a value: a unit's state, or an attribution.

    Args:
      labels: the characters.
      values: one per character; blue is negative, red positive.
      title: title of the figure.
      colorbar_label: label of the color bar.

    >>> figure = text_figure("a b", [0.5, 0.0, -1.0], title="Unit 3", colorbar_label="state")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['a', '·', 'b']
    """
    values = np.asarray(values, np.float64)
    if len(labels) != len(values) or not len(values):
        raise ValueError(
            f"labels and values must have one length >= 1, got {len(labels)} and {len(values)}"
        )
    lines = -(-len(labels) // CHARS_PER_ROW)
    width = min(len(labels), CHARS_PER_ROW)
    size = max(6.5, 1.6 + 0.155 * width), max(2.4, 1.0 + 0.32 * lines)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    grid = np.full(lines * width, np.nan)
    grid[: len(values)] = values
    bound = float(np.nanmax(np.abs(values))) or 1.0
    image = axes.imshow(
        grid.reshape(lines, width), cmap="RdBu_r", norm=Normalize(-bound, bound), aspect="auto"
    )
    for k, label in enumerate(labels):
        strong = abs(values[k]) > 0.6 * bound
        axes.text(
            k % width,
            k // width,
            visible_symbol(label),
            ha="center",
            va="center",
            fontsize=8,
            family="monospace",
            color="white" if strong else "black",
            parse_math=False,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, label=colorbar_label, fraction=0.05, aspect=8)
    return figure


def attribution_figure(
    values: ArrayLike, *, title: str, ylabel: str = "contribution", first_step: int = 0
) -> Figure:
    """Contributions of time steps to a prediction as bars: red raises it, blue lowers it.

    Args:
      values: (time,), from `integrated_gradients` of one sequence.
      title: title of the figure.
      ylabel: label of the contributions.
      first_step: number of the first time step.

    >>> figure = attribution_figure([0.5, -0.25], title="Prediction at time step 1")
    >>> [bar.get_height() for bar in figure.axes[0].patches]
    [np.float64(0.5), np.float64(-0.25)]
    """
    values = np.asarray(values, np.float64)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots()
    colors = np.where(values < 0, "#2166AC", "#B2182B")  # the ends of the map of `text_figure`
    axes.bar(first_step + np.arange(len(values)), values, width=0.9, color=colors)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="time step", ylabel=ylabel)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    return figure


def attention_figure(
    weights: ArrayLike, labels: Sequence[str] | None = None, *, title: str = "Attention"
) -> Figure:
    """Attention weights, one panel per head.

    Args:
      weights: (heads, time, time) of one sequence, from `attention_weights`.
      labels: the symbol read at each time step.
      title: title of the figure.

    >>> figure = attention_figure(np.tile(np.eye(4), (2, 1, 1)))
    >>> [axes.get_title() for axes in figure.axes[:2]]
    ['head 1', 'head 2']
    """
    weights = np.asarray(weights)
    across = min(len(weights), 4)
    down = -(-len(weights) // across)
    figure = Figure(figsize=(3.4 * across + 1, 3.3 * down + 0.4), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False)
    for head, axes in enumerate(panels.flat):
        if head >= len(weights):
            axes.remove()
            continue
        image = axes.imshow(weights[head], cmap="magma", vmin=0, vmax=1)
        axes.set_title(f"head {head + 1}", fontsize=9)
        axes.set(xlabel="attended time step", ylabel="attending time step")
        if labels is not None and len(labels) <= 40:
            shown = [visible_symbol(label) for label in labels]
            axes.set_xticks(range(len(shown)), shown, fontsize=6)
            axes.set_yticks(range(len(shown)), shown, fontsize=6)
    figure.colorbar(image, ax=list(panels.flat)[: len(weights)], label="weight", shrink=0.8)
    figure.suptitle(title, fontsize=11)
    return figure


def _most_varied(values: np.ndarray) -> np.ndarray:
    chosen = np.argsort(-values.std(0), kind="stable")[:MAX_UNITS]
    return values[:, chosen[np.argsort(values[:, chosen].mean(0), kind="stable")]]


def _label_steps(axes: Axes, labels: Sequence[str] | None, length: int, first_step: int) -> None:
    if labels is None or length > 120:
        axes.set_xlabel("time step")
        return
    shown = [visible_symbol(label) for label in labels]
    steps = range(first_step, first_step + length)
    axes.set_xticks(steps, shown, fontsize=7, family="monospace")
    axes.set_xlabel("symbol read")


def visible_symbol(label: str) -> str:
    """A symbol as it is drawn, with visible signs for white space."""
    return {" ": "·", "\n": "¶", "\t": "→"}.get(label, label)
