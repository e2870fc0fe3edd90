"""Calibration of forecast distributions: where the true values lie among the forecast quantiles."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAR, PERFECT = "#0072B2", "#333333"


class PitHistogram(NamedTuple):
    """A histogram of the probability integral transform (PIT), with the levels as bin edges.

    Attributes:
      edges: (bins + 1,) from 0 to 1.
      shares: (bins,) share of the values in each bin.
    """

    edges: np.ndarray
    shares: np.ndarray

    def density(self) -> np.ndarray:
        """Returns the share of each bin relative to that of calibrated forecasts, (bins,)."""
        return self.shares / np.diff(self.edges)


def pit_histogram(values: np.ndarray, levels: Sequence[float]) -> PitHistogram:
    """Returns which share of the PIT values lies between each two levels.

    Args:
      values: (count,) in [0, 1], as `rnnlab.tasks.reference.forecast_scores.pit_values` returns.
      levels: of the forecast quantiles, increasing, each in (0, 1).

    Source: Gneiting, Balabdaoui and Raftery, "Probabilistic forecasts, calibration and sharpness",
    JRSS B 69 (2007), section 3.1.

    >>> found = pit_histogram(np.array([0.0, 0.3, 0.6, 1.0]), (0.25, 0.5, 0.75))
    >>> found.shares.tolist(), found.density().tolist()
    ([0.25, 0.25, 0.25, 0.25], [1.0, 1.0, 1.0, 1.0])
    """
    edges = np.array([0.0, *levels, 1.0])
    counts, _ = np.histogram(values, edges)
    return PitHistogram(edges, counts / max(len(values), 1))


def draw_pit(axes: "Axes", histogram: PitHistogram) -> None:
    """Draws the density of each bin, and the line of calibrated forecasts."""
    density = histogram.density()
    axes.bar(
        histogram.edges[:-1], density, np.diff(histogram.edges), align="edge", color=BAR,
        edgecolor="white", linewidth=0.8,
    )  # fmt: skip
    axes.axhline(1, color=PERFECT, linewidth=1, linestyle="--")
    axes.set(xlim=(0, 1), xlabel="level of the forecast quantile", ylabel="density of true values")
