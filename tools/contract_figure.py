"""Draws the figure of the contract page.

Command:  python tools/contract_figure.py    (writes docs/contract.png)
"""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

# Pale colors, which no cell has.
REAL, OTHER, PADDING, RESET = "#BBCCEE", "#FFCCCC", "#EEEEEE", "#332288"


def steps(axes: Axes, y: float, colors: list[str], first: float = 0.0) -> None:
    """One box per input."""
    for t, color in enumerate(colors):
        axes.add_patch(
            FancyBboxPatch(
                (first + t + 0.06, y), 0.88, 0.8, boxstyle="round,pad=0,rounding_size=0.12",
                facecolor=color, edgecolor="0.3", linewidth=0.8,
            )
        )  # fmt: skip


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str = "") -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "black"})
    if text:
        axes.text(
            (start[0] + end[0]) / 2, start[1] + 0.18, text, ha="center", va="bottom", fontsize=9
        )


def panel(axes: Axes, title: str, note: str) -> None:
    axes.set(xlim=(-1.7, 9.7), ylim=(-1.5, 2.3), aspect="equal")
    axes.axis("off")
    axes.set_title(title, fontsize=11, loc="left", fontweight="bold")
    axes.text(-1.6, -1.35, note, fontsize=9.5, va="bottom")


def contract() -> Figure:
    figure = Figure(figsize=(12.5, 7.4), layout="constrained")
    panels = figure.subplots(3, 2)

    axes = panels[0, 0]
    panel(axes, "Sequence call", "carry, ys = cell(carry, xs)")
    steps(axes, 0.4, [REAL] * 7)
    arrow(axes, (-1.5, 0.8), (-0.05, 0.8), "carry")
    arrow(axes, (7.05, 0.8), (8.6, 0.8), "carry")

    axes = panels[0, 1]
    panel(axes, "Streaming: one step per input, equal outputs", "carry, y = cell.step(carry, x)")
    for t in range(7):
        steps(axes, 0.4, [REAL], 1.4 * t - 0.4)
        arrow(axes, (1.4 * t - 0.86, 0.8), (1.4 * t - 0.36, 0.8))
    axes.text(-1.25, 1.0, "carry", ha="center", va="bottom", fontsize=9)

    axes = panels[1, 0]
    panel(
        axes,
        "Chunking: one call per chunk, equal outputs",
        "The carry is all that a chunk needs from the chunk before.",
    )
    steps(axes, 0.4, [REAL] * 3)
    steps(axes, 0.4, [REAL] * 4, 4.6)
    arrow(axes, (-1.5, 0.8), (-0.05, 0.8), "carry")
    arrow(axes, (3.05, 0.8), (4.58, 0.8), "carry")
    arrow(axes, (8.65, 0.8), (9.6, 0.8), "carry")

    axes = panels[1, 1]
    panel(
        axes,
        "reset: several sequences in one example",
        "reset[t] sets the state to initial_carry before input t. No value or gradient\n"
        "passes a reset, NaN included.",
    )
    steps(axes, 0.4, [REAL] * 3 + [OTHER] * 4)
    axes.plot([3, 3], [0.1, 1.5], color=RESET, linewidth=2.5)
    axes.text(3, 1.6, "reset", ha="center", fontsize=9)

    axes = panels[2, 0]
    panel(
        axes,
        "mask: sequences of different lengths",
        "mask[t] = False keeps the state, sets y[t] to 0 and ignores the input.\n"
        "The returned carry is the state after the last real step.",
    )
    steps(axes, 1.0, [REAL] * 7)
    steps(axes, 0.0, [OTHER] * 4 + [PADDING] * 3)
    arrow(axes, (7.05, 1.4), (9.6, 1.4), "carry after step 7")
    arrow(axes, (7.05, 0.4), (9.6, 0.4), "carry after step 4")
    axes.text(5.5, 0.4, "padding", ha="center", va="center", fontsize=8)

    axes = panels[2, 1]
    panel(
        axes,
        "Bidirectional: each sequence within its own length",
        "The backward cell starts at the last real step; its resets are shifted by one.\n"
        "It has no step method.",
    )
    steps(axes, 0.4, [REAL] * 4 + [PADDING] * 3)
    arrow(axes, (0.1, 1.5), (4.0, 1.5), "forward")
    arrow(axes, (4.0, 0.05), (0.1, 0.05))
    axes.text(2.05, -0.12, "backward", ha="center", va="top", fontsize=9)
    return figure


if __name__ == "__main__":
    contract().savefig(Path(__file__).parent.parent / "docs" / "contract.png", dpi=100)
