"""Figures of what a decoder attends to in its source."""

from collections.abc import Mapping, Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib.figure import Figure

from rnnlab.analysis.heatmaps import visible_symbol

MAX_NAMED = 60
"""Most symbols of an axis that are named."""


def alignment_figure(
    weights: Mapping[str, ArrayLike],
    source: Sequence[str],
    target: Sequence[str],
    *,
    title: str = "Alignment",
) -> Figure:
    """Attention weights over a source as heat maps, one per layer, means over the heads.

    Args:
      weights: (heads, time, positions) of one example by the name of the layer, such as those of
        `EncoderDecoder.alignments`.
      source: the symbol at each position of the source.
      target: the symbol that each time step predicts.
      title: title of the figure.

    >>> figure = alignment_figure({"layer 0": np.full((2, 2, 3), 1 / 3)}, "abc", ["x", "<end>"])
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['x', '<end>']
    """
    means = {name: np.asarray(x, np.float64).mean(0) for name, x in weights.items()}
    down, across = len(target), len(source)
    for name, x in means.items():
        if x.shape != (down, across):
            raise ValueError(
                f"weights of {name} must be of {down} time steps and {across} positions, the "
                f"symbols, got {x.shape}; pass the symbols of the same example"
            )
    size = (1.2 + len(means) * (1.6 + 0.27 * min(across, 60)), max(2.6, 1.6 + 0.27 * min(down, 60)))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(means), squeeze=False)[0]
    for axes, (name, x) in zip(panels, means.items(), strict=True):
        image = axes.imshow(x, cmap="viridis", vmin=0, vmax=1, aspect="auto")
        axes.set_title(name, fontsize=10)
        axes.set(xlabel="source", ylabel="predicted")
        if across <= MAX_NAMED:
            shown = [visible_symbol(symbol) for symbol in source]
            is_long = max(map(len, shown), default=0) > 2
            axes.set_xticks(range(across), shown, rotation=90 if is_long else 0, fontsize=9)
        if down <= MAX_NAMED:
            axes.set_yticks(range(down), [visible_symbol(x) for x in target], fontsize=9)
    figure.colorbar(image, ax=list(panels), label="weight, mean of heads")
    figure.suptitle(title, fontsize=11)
    return figure
