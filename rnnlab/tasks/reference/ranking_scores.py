"""Scores of rankings of all items: the rank of the true one, with ties counted against the model.

Ranks among a sample of items would mislead: they order models differently from ranks among all.
Source: Krichene and Rendle, "On sampled metrics for item recommendation", KDD 2020.
"""

from collections.abc import Callable, Sequence

import numpy as np

CUTOFF = 20
"""Length of the list that is recommended."""


def ranks(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the rank of each target among all items: 1 is the best.

    An item with the score of the target, or without a comparable score such as NaN, ranks before
    it. So a model that gives all items one score has the worst rank, not the best.

    Args:
      scores: (predictions, items).
      targets: (predictions,) indices of items; -1 for an item that is not among them, whose rank is
        infinite.

    Returns:
      (predictions,) float64.

    >>> scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0], [0.0, 1.0, 2.0]])
    >>> ranks(scores, np.array([2, 0, -1])).tolist()
    [2.0, 2.0, inf]
    """
    known = targets >= 0
    own = np.take_along_axis(scores, np.where(known, targets, 0)[:, None], axis=1)
    # Of the items that do not rank behind the target one is the target.
    found = np.sum(~(scores < own), axis=1, dtype=np.float64)
    return np.where(known, found, np.inf)


def hit_rate(found: Sequence[float], cutoff: int = CUTOFF) -> float:
    """Returns the share of ranks that are within the recommended list.

    >>> hit_rate([1.0, 20.0, 21.0, float("inf")])
    0.5
    """
    return float(np.mean(np.asarray(found) <= cutoff))


def mean_reciprocal_rank(found: Sequence[float], cutoff: int = CUTOFF) -> float:
    """Returns the mean of 1 / rank, where a rank beyond the recommended list counts as 0.

    >>> mean_reciprocal_rank([1.0, 20.0, 21.0, 2.0])
    0.3875
    """
    found = np.asarray(found)
    return float(np.mean(np.where(found <= cutoff, 1 / found, 0)))


def scores(found: Sequence[float]) -> dict[str, float]:
    """Returns the metrics of ranks by name.

    >>> scores([1.0, 4.0])
    {'hit_rate_20': 1.0, 'mrr_20': 0.625}
    """
    return {"hit_rate_20": hit_rate(found), "mrr_20": mean_reciprocal_rank(found)}


METRICS: dict[str, tuple[Callable[[Sequence[float], Sequence[int]], float], bool]] = {
    "hit_rate_20": (lambda found, items: hit_rate(found), True),
    "mrr_20": (lambda found, items: mean_reciprocal_rank(found), True),
}
"""Metrics of (ranks, items) by name, and whether more is better."""
