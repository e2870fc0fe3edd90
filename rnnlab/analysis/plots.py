"""Figures of the analyses. Each function returns a matplotlib figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnlab.analysis.heatmaps import MAX_UNITS, visible_symbol
from rnnlab.analysis.heatmaps import attention_figure as attention_figure
from rnnlab.analysis.heatmaps import attribution_figure as attribution_figure
from rnnlab.analysis.heatmaps import gate_figure as gate_figure
from rnnlab.analysis.heatmaps import text_figure as text_figure
from rnnlab.analysis.layers import reads_backward
from rnnlab.plotting import cell_label, series_colors


def gradient_flow_figure(
    norms: Mapping[str, ArrayLike],
    *,
    title: str = "Gradient flow",
    ylabel: str | None = None,
    loss_step: int | None = None,
) -> Figure:
    """Norms of a loss's gradient with respect to the state, against the distance from the end.

    Args:
      norms: (*batch, time) by name, from `gradient_flow` with a loss of the last time step. Each
        name is a line, the median over the batch, with a band between the quartiles. Cells that
        read from the end are dashed.
      title: title of the figure.
      ylabel: label of the norms.
      loss_step: the time step of the loss, in a bidirectional model: the x axis is then the time
        step.

    >>> figure = gradient_flow_figure({"gru": 0.9 ** np.arange(50.0)})
    >>> figure.axes[0].get_xlabel()
    'time steps before the loss'
    """
    figure, axes = _figure()
    colors = series_colors(norms)
    for name, values in norms.items():
        flat = np.asarray(values, np.float64)
        flat = flat.reshape(-1, flat.shape[-1])
        x = np.arange(flat.shape[-1])
        x = x[::-1] if loss_step is None else x
        low, middle, high = np.quantile(flat, (0.25, 0.5, 0.75), axis=0)
        style = "--" if reads_backward(name) else "-"
        line = {"color": colors[name], "label": cell_label(name), "linestyle": style}
        # A point between zeros has no line.
        marker = "o" if np.sum(middle > 0) == 1 else None
        axes.plot(x, np.where(middle > 0, middle, np.nan), marker=marker, **line)
        axes.fill_between(x, low, high, color=colors[name], alpha=0.2, linewidth=0)
    xlabel = "time steps before the loss"
    if loss_step is not None:
        xlabel = "time step"
        axes.axvline(loss_step, color="black", linewidth=0.8, linestyle=":", label="prediction")
    axes.set(
        title=title,
        yscale="log",
        xlabel=xlabel,
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


def trajectory_figure(
    projected: ArrayLike,
    labels: Sequence[str] | None = None,
    *,
    explained_variance_ratio: ArrayLike | None = None,
    title: str = "Trajectory of the state",
    first_step: int = 0,
) -> Figure:
    """States in the plane of their first two principal components, in order of time.

    Args:
      projected: (time, 2 or more), from `principal_components`.
      labels: the symbol read at each time step.
      explained_variance_ratio: from `principal_components`.
      title: title of the figure.
      first_step: number of the first time step.

    >>> figure = trajectory_figure(np.eye(4)[:, :2], list("scan"))
    >>> figure.axes[0].get_xlabel()
    'first component'
    """
    figure, axes = _figure(7.2, 6)
    x, y = np.asarray(projected)[:, :2].T
    axes.plot(x, y, color="0.75", linewidth=0.8, zorder=1)
    points = axes.scatter(x, y, c=first_step + np.arange(len(x)), s=14, cmap="viridis", zorder=2)
    for at, label in zip(zip(x, y, strict=True), labels or (), strict=False):
        axes.annotate(
            visible_symbol(label), at, xytext=(3, 3), textcoords="offset points", fontsize=8
        )
    figure.colorbar(points, label="time step")
    names = ("first component", "second component")
    if explained_variance_ratio is not None:
        names = [
            f"{name} ({ratio:.0%} of the variance)"
            for name, ratio in zip(names, np.asarray(explained_variance_ratio), strict=False)
        ]
    axes.set(title=title, xlabel=names[0], ylabel=names[1])
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
