"""What the analyses find, as pictures. Each function returns a matplotlib figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from rnnlab.plotting import cell_label, series_colors

UNITS = 40
"""Rows of a heat map beyond which only those that vary the most are drawn."""
WRAP = 64
"""Characters in a row of text."""


def gradient_flow_figure(
    norms: Mapping[str, ArrayLike], *, title: str = "Gradient flow", ylabel: str | None = None
) -> Figure:
    """Norms of a loss's gradient by the state, a line a name, against the distance from the end.

    Args:
      norms: (*batch, time) by name, as `gradient_flow` gives them for a loss of the last step. The
        line is the median over the batch, the band half of it.
      title: above the picture.
      ylabel: what the norms are of.

    >>> figure = gradient_flow_figure({"gru": 0.9 ** np.arange(50.0)})
    >>> figure.axes[0].get_xlabel()
    'steps before the loss'
    """
    figure, axes = _figure()
    colors = series_colors(norms)
    for name, values in norms.items():
        flat = np.asarray(values, np.float64)
        flat = flat.reshape(-1, flat.shape[-1])
        ago = np.arange(flat.shape[-1])[::-1]
        low, middle, high = np.quantile(flat, (0.25, 0.5, 0.75), axis=0)
        line = {"color": colors[name], "label": cell_label(name)}
        axes.plot(ago, np.where(middle > 0, middle, np.nan), **line)
        axes.fill_between(ago, low, high, color=colors[name], alpha=0.2, linewidth=0)
    axes.set(
        title=title,
        yscale="log",
        xlabel="steps before the loss",
        ylabel=ylabel or "norm of the loss's gradient by the state",
    )
    axes.legend(fontsize=9)
    return figure


def horizon_figure(influence: Mapping[str, ArrayLike], *, title: str = "Memory") -> Figure:
    """An input's influence on the output by its lag, over that at its largest, a line a name.

    Args:
      influence: (*batch, lag, features) by name, from `rnnlab.analysis.influence`. Units are drawn
        thin, a layer as a whole thick.
      title: above the picture.

    >>> figure = horizon_figure({"layer 1": 0.9 ** np.arange(50.0)[:, None] * np.ones((1, 8))})
    >>> len(figure.axes[0].lines)  # 8 units, the layer, the share
    10
    """
    figure, axes = _figure()
    colors = series_colors(influence)
    for name, values in influence.items():
        flat = np.asarray(values, np.float64)
        flat = flat.reshape(-1, *flat.shape[-2:]).mean(0)
        units = _over_largest(flat)
        chosen = units[:, np.linspace(0, units.shape[1] - 1, min(UNITS, units.shape[1]), dtype=int)]
        color = colors[name]
        axes.plot(np.where(chosen > 0, chosen, np.nan), color=color, alpha=0.15, linewidth=0.8)
        whole = _over_largest(np.linalg.norm(flat, axis=-1, keepdims=True))
        line = {"color": color, "linewidth": 2.2, "label": cell_label(name)}
        axes.plot(np.where(whole > 0, whole, np.nan), **line)
    axes.axhline(0.05, color="black", linewidth=0.8, linestyle=":", label="a share of 0.05")
    axes.set(
        title=title,
        yscale="log",
        ylim=(1e-6, 2),
        xlabel="lag of the input (steps)",
        ylabel="influence on the last output, over the largest",
    )
    axes.legend(fontsize=9)
    return figure


def gate_figure(
    gates: Mapping[str, ArrayLike],
    labels: Sequence[str] | None = None,
    *,
    title: str = "Gates",
    unit: str = "gate, from closed (0) to open (1)",
) -> Figure:
    """Gates over a sequence as heat maps from 0 to 1, one a name.

    Args:
      gates: (time, features) by name, as `gate_values` gives them for one sequence. Of more than
        `UNITS` features those are drawn that vary the most; they are ordered by their mean.
      labels: what was read at each step, such as the text's characters; None numbers the steps.
      title, unit: above the picture, and at its scale of colours.

    >>> figure = gate_figure({"z": np.full((4, 8), 0.5)}, list("scan"))
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['s', 'c', 'a', 'n']
    """
    figure = Figure(figsize=(11, 0.7 + 2.7 * len(gates)), layout="constrained")
    panels = figure.subplots(len(gates), 1, squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, gates.items(), strict=True):
        shown = _most_varied(np.asarray(values, np.float64))
        image = axes.imshow(shown.T, aspect="auto", cmap="viridis", vmin=0, vmax=1)
        axes.set(title=f"{name}", ylabel="units, by their mean")
        axes.set_yticks([])
        _label_steps(axes, labels, len(shown))
    figure.colorbar(image, ax=list(panels), label=unit)
    figure.suptitle(title, fontsize=11)
    return figure


def trajectory_figure(
    projected: ArrayLike,
    labels: Sequence[str] | None = None,
    *,
    share: ArrayLike | None = None,
    title: str = "Trajectory of the state",
) -> Figure:
    """States in the plane of their first two components, in the order of time.

    Args:
      projected: (time, 2 or more), from `principal_components`.
      labels: what was read at each step.
      share: of the variance, as `principal_components` gives it.
      title: above the picture.

    >>> figure = trajectory_figure(np.eye(4)[:, :2], list("scan"), share=[0.5, 0.3])
    >>> figure.axes[0].get_xlabel()
    'first component (50% of the variance)'
    """
    figure, axes = _figure(7.2, 6)
    x, y = np.asarray(projected)[:, :2].T
    axes.plot(x, y, color="0.75", linewidth=0.8, zorder=1)
    points = axes.scatter(x, y, c=np.arange(len(x)), s=14, cmap="viridis", zorder=2)
    for at, label in zip(zip(x, y, strict=True), labels or (), strict=False):
        axes.annotate(_visible(label), at, xytext=(3, 3), textcoords="offset points", fontsize=8)
    figure.colorbar(points, label="step")
    names = ("first component", "second component")
    if share is not None:
        names = [
            f"{name} ({part:.0%} of the variance)"
            for name, part in zip(names, np.asarray(share), strict=False)
        ]
    axes.set(title=title, xlabel=names[0], ylabel=names[1])
    return figure


def text_figure(labels: Sequence[str], values: ArrayLike, *, title: str, unit: str) -> Figure:
    """A text whose characters are coloured by a value each: a unit's state, or an attribution.

    Args:
      labels: the characters.
      values: (time,); blue is below 0, red above.
      title, unit: above the picture, and at its scale of colours.

    >>> figure = text_figure("a b", [0.5, 0.0, -1.0], title="Unit 3", unit="state")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['a', '·', 'b']
    """
    values = np.asarray(values, np.float64)
    if len(labels) != len(values) or not len(values):
        raise ValueError(
            f"labels has {len(labels)} entries for {len(values)} values; as many, and "
            "at least one, are needed"
        )
    lines = -(-len(labels) // WRAP)
    width = min(len(labels), WRAP)
    size = 1.6 + 0.155 * width, max(1.9, 1.0 + 0.32 * lines)
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
            _visible(label),
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
    figure.colorbar(image, label=unit, fraction=0.05, aspect=8)
    return figure


def attention_figure(
    weights: ArrayLike, labels: Sequence[str] | None = None, *, title: str = "Attention"
) -> Figure:
    """What each step attends to, a panel a head.

    Args:
      weights: (heads, time, time), from `rnnlab.analysis.attention_weights`, of one sequence.
      labels: what was read at each step.
      title: above the picture.

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
        axes.set(xlabel="attended step", ylabel="attending step")
        if labels is not None and len(labels) <= 40:
            shown = [_visible(label) for label in labels]
            axes.set_xticks(range(len(shown)), shown, fontsize=6)
            axes.set_yticks(range(len(shown)), shown, fontsize=6)
    figure.colorbar(image, ax=list(panels.flat)[: len(weights)], label="weight", shrink=0.8)
    figure.suptitle(title, fontsize=11)
    return figure


def spectrum_figure(
    eigenvalues: Mapping[str, ArrayLike], *, title: str = "Eigenvalues of the step's Jacobian"
) -> Figure:
    """Eigenvalues in the complex plane beside the unit circle, one colour a name.

    >>> figure = spectrum_figure({"rnn": np.linalg.eigvals(np.array([[0.0, 0.9], [-0.9, 0.0]]))})
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('real part', 'imaginary part')
    """
    figure, axes = _figure(6.4, 6)
    turn = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(turn), np.sin(turn), color="black", linewidth=0.8, label="magnitude 1")
    colors = series_colors(eigenvalues)
    for name, values in eigenvalues.items():
        flat = np.asarray(values).ravel()
        line = {"color": colors[name], "label": cell_label(name)}
        axes.scatter(flat.real, flat.imag, s=9, alpha=0.5, **line)
    axes.set(title=title, xlabel="real part", ylabel="imaginary part", aspect="equal")
    axes.legend(fontsize=9, loc="upper left")
    return figure


def error_by_length_figure(
    errors: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    trained: float | None = None,
    xlabel: str = "length of the sequence (steps)",
    ylabel: str = "error",
    title: str = "Error by length",
) -> Figure:
    """A line a name of (lengths, errors), with the length that was trained on marked.

    >>> figure = error_by_length_figure({"gru": ((64, 128), (0.1, 0.3))}, trained=64)
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['GRU', 'trained on']
    """
    figure, axes = _figure()
    colors = series_colors(errors)
    for name, (lengths, values) in errors.items():
        axes.plot(lengths, values, color=colors[name], marker="o", label=cell_label(name))
    if trained is not None:
        axes.axvline(trained, color="black", linewidth=0.8, linestyle=":", label="trained on")
    axes.set(title=title, xscale="log", xlabel=xlabel, ylabel=ylabel)
    axes.legend(fontsize=9)
    return figure


def _figure(width: float = 7.6, height: float = 4.6) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    return figure, axes


def _over_largest(values: np.ndarray) -> np.ndarray:
    largest = values.max(0, keepdims=True)
    return values / np.where(largest > 0, largest, 1)


def _most_varied(values: np.ndarray) -> np.ndarray:
    chosen = np.argsort(-values.std(0), kind="stable")[:UNITS]
    return values[:, chosen[np.argsort(values[:, chosen].mean(0), kind="stable")]]


def _label_steps(axes: Axes, labels: Sequence[str] | None, length: int) -> None:
    if labels is None or length > 120:
        axes.set_xlabel("step")
        return
    shown = [_visible(label) for label in labels]
    axes.set_xticks(range(length), shown, fontsize=7, family="monospace")
    axes.set_xlabel("symbol that was read")


def _visible(label: str) -> str:
    """A symbol as it can be drawn: spaces and line ends have none of their own."""
    return {" ": "·", "\n": "¶", "\t": "→"}.get(label, label)
