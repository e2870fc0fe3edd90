"""Pictures of drawings that are stored as movements of a pen."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 10
"""Drawings per row of a picture."""

INK = "#222222"


def pen_strokes(drawing: np.ndarray) -> list[np.ndarray]:
    """Returns the strokes of a drawing: the positions of the pen from its first touch to its lift.

    Args:
      drawing: (points, 3), see `rnnlab.tasks.readers.strokes.Drawings`.

    >>> [x.tolist() for x in pen_strokes(np.array([[0, 0, 0], [1, 0, 1], [0, 2, 0], [1, 0, 1]]))]
    [[[0, 0], [1, 0]], [[1, 2], [2, 2]]]
    """
    positions = np.cumsum(drawing[:, :2], axis=0)
    ends = np.flatnonzero(drawing[:, 2] > 0) + 1
    return [x for x in np.split(positions, ends) if len(x)]


def figure(groups: Mapping[str, Sequence[np.ndarray]]) -> "Figure":
    """Returns a picture of drawings, each group below its name.

    Args:
      groups: drawings by the name of their group, such as "drawn by the model".
    """
    from matplotlib.figure import Figure

    rows = {name: -(-len(of) // COLUMNS) for name, of in groups.items() if len(of)}
    drawn = Figure(figsize=(COLUMNS, sum(rows.values()) + 0.4 * len(rows)), layout="constrained")
    parts = drawn.subfigures(len(rows), 1, height_ratios=[n + 0.4 for n in rows.values()])
    for part, name in zip(np.atleast_1d(parts), rows, strict=True):
        part.suptitle(name, fontsize=10, x=0.01, ha="left")
        axes = part.subplots(rows[name], COLUMNS, squeeze=False).flat
        for k, ax in enumerate(axes):
            ax.set_axis_off()
            if k < len(groups[name]):
                _draw(ax, groups[name][k])
    return drawn


def _draw(ax, drawing: np.ndarray) -> None:
    """One drawing, to scale: its longer side fills a square."""
    strokes = pen_strokes(drawing)
    for stroke in strokes:
        # A stroke of one point is a dot.
        marker = "." if len(stroke) == 1 else None
        ax.plot(stroke[:, 0], stroke[:, 1], color=INK, lw=1.3, marker=marker, ms=3)
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    middle, side = (low + high) / 2, 0.55 * max(float((high - low).max()), 1e-6)
    ax.set_xlim(middle[0] - side, middle[0] + side)
    ax.set_ylim(middle[1] + side, middle[1] - side)
    ax.set_aspect("equal")
