"""Figures of the analyses. Each function returns a matplotlib figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from rnnlab.plotting import cell_label, series_colors

MAX_UNITS = 40
"""Most units that a heat map shows: those that vary most."""
CHARS_PER_ROW = 64
"""Characters per line of a text figure."""


def gradient_flow_figure(
    norms: Mapping[str, ArrayLike], *, title: str = "Gradient flow", ylabel: str | None = None
) -> Figure:
    """Norms of a loss's gradient with respect to the state, against the distance from the end.

    Args:
      norms: (*batch, time) by name, from `gradient_flow` with a loss of the last time step. Each
        name is a line, the median over the batch, with a band between the quartiles.
      title: title of the figure.
      ylabel: label of the norms.

    >>> figure = gradient_flow_figure({"gru": 0.9 ** np.arange(50.0)})
    >>> figure.axes[0].get_xlabel()
    'time steps before the loss'
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
        xlabel="time steps before the loss",
        ylabel=ylabel or "norm of the gradient with respect to the state",
    )
    axes.legend(fontsize=9)
    return figure


def horizon_figure(
    sensitivity: Mapping[str, ArrayLike], *, threshold: float = 0.05, title: str = "Memory horizon"
) -> Figure:
    """The sensitivity of the last output to an input, by lag, relative to its maximum.

    Args:
      sensitivity: (*batch, lag, features) by name, from `input_sensitivity`. Thin lines are single
        units, the thick line is the norm over all units.
      threshold: the fraction at which `memory_horizon` ends.
      title: title of the figure.

    >>> figure = horizon_figure({"layer 1": 0.9 ** np.arange(50.0)[:, None] * np.ones((1, 8))})
    >>> len(figure.axes[0].lines)  # 8 units, their norm, the threshold
    10
    """
    figure, axes = _figure()
    colors = series_colors(sensitivity)
    for name, values in sensitivity.items():
        flat = np.asarray(values, np.float64)
        flat = flat.reshape(-1, *flat.shape[-2:]).mean(0)
        units = _normalize_by_max(flat)
        count = units.shape[1]
        chosen = units[:, np.linspace(0, count - 1, min(MAX_UNITS, count), dtype=int)]
        color = colors[name]
        axes.plot(np.where(chosen > 0, chosen, np.nan), color=color, alpha=0.15, linewidth=0.8)
        whole = _normalize_by_max(np.linalg.norm(flat, axis=-1, keepdims=True))
        line = {"color": color, "linewidth": 2.2, "label": cell_label(name)}
        axes.plot(np.where(whole > 0, whole, np.nan), **line)
    line = {"color": "black", "linewidth": 0.8, "linestyle": ":"}
    axes.axhline(threshold, label=f"threshold {threshold:g}", **line)
    axes.set(
        title=title,
        yscale="log",
        ylim=(1e-6, 2),
        xlabel="lag of the input (time steps)",
        ylabel="sensitivity of the last output (relative to maximum)",
    )
    axes.legend(fontsize=9)
    return figure


def gate_figure(
    gates: Mapping[str, ArrayLike],
    labels: Sequence[str] | None = None,
    *,
    title: str = "Gates",
    colorbar_label: str = "gate, from closed (0) to open (1)",
) -> Figure:
    """Gates over a sequence as heat maps from 0 to 1, one per gate.

    Args:
      gates: (time, features) by name, from `gate_values` of one sequence. At most `MAX_UNITS`
        features are drawn, those that vary most, ordered by their mean.
      labels: the symbol read at each time step; None numbers the time steps.
      title: title of the figure.
      colorbar_label: label of the color bar.

    >>> figure = gate_figure({"z": np.full((4, 8), 0.5)}, list("scan"))
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['s', 'c', 'a', 'n']
    """
    figure = Figure(figsize=(11, 0.7 + 2.7 * len(gates)), layout="constrained")
    panels = figure.subplots(len(gates), 1, squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, gates.items(), strict=True):
        shown = _most_varied(np.asarray(values, np.float64))
        image = axes.imshow(shown.T, aspect="auto", cmap="viridis", vmin=0, vmax=1)
        axes.set(title=f"{name}", ylabel="units, ordered by mean")
        axes.set_yticks([])
        _label_steps(axes, labels, len(shown))
    figure.colorbar(image, ax=list(panels), label=colorbar_label)
    figure.suptitle(title, fontsize=11)
    return figure


def trajectory_figure(
    projected: ArrayLike,
    labels: Sequence[str] | None = None,
    *,
    explained_variance_ratio: ArrayLike | None = None,
    title: str = "Trajectory of the state",
) -> Figure:
    """States in the plane of their first two principal components, in order of time.

    Args:
      projected: (time, 2 or more), from `principal_components`.
      labels: the symbol read at each time step.
      explained_variance_ratio: from `principal_components`.
      title: title of the figure.

    >>> figure = trajectory_figure(np.eye(4)[:, :2], list("scan"))
    >>> figure.axes[0].get_xlabel()
    'first component'
    """
    figure, axes = _figure(7.2, 6)
    x, y = np.asarray(projected)[:, :2].T
    axes.plot(x, y, color="0.75", linewidth=0.8, zorder=1)
    points = axes.scatter(x, y, c=np.arange(len(x)), s=14, cmap="viridis", zorder=2)
    for at, label in zip(zip(x, y, strict=True), labels or (), strict=False):
        axes.annotate(_visible(label), at, xytext=(3, 3), textcoords="offset points", fontsize=8)
    figure.colorbar(points, label="time step")
    names = ("first component", "second component")
    if explained_variance_ratio is not None:
        names = [
            f"{name} ({ratio:.0%} of the variance)"
            for name, ratio in zip(names, np.asarray(explained_variance_ratio), strict=False)
        ]
    axes.set(title=title, xlabel=names[0], ylabel=names[1])
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
    figure.colorbar(image, label=colorbar_label, fraction=0.05, aspect=8)
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
            shown = [_visible(label) for label in labels]
            axes.set_xticks(range(len(shown)), shown, fontsize=6)
            axes.set_yticks(range(len(shown)), shown, fontsize=6)
    figure.colorbar(image, ax=list(panels.flat)[: len(weights)], label="weight", shrink=0.8)
    figure.suptitle(title, fontsize=11)
    return figure


def spectrum_figure(
    eigenvalues: Mapping[str, ArrayLike],
    *,
    title: str = "Eigenvalues of the Jacobian of a time step",
) -> Figure:
    """Eigenvalues in the complex plane with the unit circle, one color per name.

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
    xlabel: str = "sequence length (time steps)",
    ylabel: str = "error",
    title: str = "Error by length",
) -> Figure:
    """Errors against sequence length, one line per name, with the training length marked.

    >>> figure = error_by_length_figure({"gru": ((64, 128), (0.1, 0.3))}, trained=64)
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['GRU', 'training length']
    """
    figure, axes = _figure()
    colors = series_colors(errors)
    for name, (lengths, values) in errors.items():
        axes.plot(lengths, values, color=colors[name], marker="o", label=cell_label(name))
    if trained is not None:
        axes.axvline(trained, color="black", linewidth=0.8, linestyle=":", label="training length")
    axes.set(title=title, xscale="log", xlabel=xlabel, ylabel=ylabel)
    axes.legend(fontsize=9)
    return figure


def _figure(width: float = 7.6, height: float = 4.6) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    return figure, axes


def _normalize_by_max(values: np.ndarray) -> np.ndarray:
    largest = values.max(0, keepdims=True)
    return values / np.where(largest > 0, largest, 1)


def _most_varied(values: np.ndarray) -> np.ndarray:
    chosen = np.argsort(-values.std(0), kind="stable")[:MAX_UNITS]
    return values[:, chosen[np.argsort(values[:, chosen].mean(0), kind="stable")]]


def _label_steps(axes: Axes, labels: Sequence[str] | None, length: int) -> None:
    if labels is None or length > 120:
        axes.set_xlabel("time step")
        return
    shown = [_visible(label) for label in labels]
    axes.set_xticks(range(length), shown, fontsize=7, family="monospace")
    axes.set_xlabel("symbol read")


def _visible(label: str) -> str:
    """A symbol as it is drawn, with visible signs for white space."""
    return {" ": "·", "\n": "¶", "\t": "→"}.get(label, label)
