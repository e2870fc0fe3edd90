"""Reliability of predicted probabilities: how often what is predicted with p happens."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUM_BINS = 10
"""Bins of equal width of the predicted probability."""

Z = 1.96
"""Standard deviations of a normal distribution on each side that contain 95% of it."""

PREDICTED, PERFECT, COUNTS = "#0072B2", "#333333", "#555555"


class Reliability(NamedTuple):
    """Cases by their predicted probability. Bins without a case are omitted.

    Attributes:
      predicted: (bins,) mean predicted probability.
      observed: (bins,) share of the cases in which the event happened.
      low, high: (bins,) limits of the 95% confidence interval of that share.
      counts: (bins,) number of cases.
    """

    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, columns: Iterable[Sequence[float]]) -> "Reliability":
        """Returns it from its columns as lists, as records hold them."""
        return cls(*map(np.array, columns))


def reliability(
    probability: np.ndarray, happened: np.ndarray, num_bins: int = NUM_BINS
) -> Reliability:
    """Returns how often an event happened, by its predicted probability.

    Args:
      probability: (cases,) in [0, 1].
      happened: (cases,) bool.
      num_bins: number of bins of equal width.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927),
    for the interval.

    >>> probability = np.array([0.02, 0.04, 0.94, 0.96])
    >>> found = reliability(probability, np.array([False, False, True, False]))
    >>> found.predicted.round(2).tolist(), found.observed.tolist(), found.counts.tolist()
    ([0.03, 0.95], [0.0, 0.5], [2, 2])
    """
    place = np.minimum((probability * num_bins).astype(int), num_bins - 1)
    counts = np.bincount(place, minlength=num_bins)
    some = counts > 0
    count = counts[some]
    predicted = np.bincount(place, probability, num_bins)[some] / count
    observed = np.bincount(place, happened, num_bins)[some] / count
    center = (observed + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z * np.sqrt(observed * (1 - observed) / count + (Z / (2 * count)) ** 2)
    half = half / (1 + Z**2 / count)
    return Reliability(predicted, observed, center - half, center + half, count)


def draw_reliability(axes: "Axes", found: Reliability, event: str) -> None:
    """Draws the observed share over the predicted probability, with the number of cases.

    Args:
      axes: empty axes.
      found: the cases.
      event: what is predicted, for the labels.
    """
    errors = np.stack([found.observed - found.low, found.high - found.observed]).clip(0)
    axes.plot([0, 1], [0, 1], color=PERFECT, lw=1, label="calibrated")
    axes.errorbar(
        found.predicted,
        found.observed,
        yerr=errors,
        fmt="o-",
        color=PREDICTED,
        capsize=3,
        label="observed, with 95% interval",
    )
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    axes.set(xlabel=f"predicted p({event})", ylabel=f"share of {event}")
    # Bars of counts would hide all but the first bin where the event is rare.
    small = {"transform": axes.get_xaxis_transform(), "fontsize": "x-small", "color": COUNTS}
    for place, count in zip(found.predicted, found.counts, strict=True):
        axes.text(place, 1.02, f"{count:,}", ha="center", **small)
    axes.text(-0.03, 1.02, "cases", ha="right", **small)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", fontsize="small")
