"""Decision thresholds, chosen on validation data for a wanted recall."""

from collections.abc import Mapping

import numpy as np


def threshold_for_recall(scores: np.ndarray, actual: np.ndarray, wanted: float) -> float:
    """Returns the highest threshold at which at least a share `wanted` of the positives is found.

    A case is found where its score is at least the threshold. Choose it on validation data, and
    apply it to test data.

    Args:
      scores: (cases,) higher means more likely positive.
      actual: (cases,) bool, whether each is positive.
      wanted: the recall, in (0, 1].

    Raises:
      ValueError: wanted is out of range, or there is no positive.

    >>> threshold_for_recall(np.array([0.9, 0.2, 0.6]), np.array([True, False, True]), 1.0)
    0.6
    """
    require_recall(wanted)
    positive = np.sort(scores[np.asarray(actual, bool)])[::-1]
    if not len(positive):
        raise ValueError("actual must have at least one positive, got none; add some")
    return float(positive[int(np.ceil(wanted * len(positive))) - 1])


def require_recall(wanted: float) -> None:
    """Raises ValueError if a wanted recall is not in (0, 1]."""
    if not 0 < wanted <= 1:
        raise ValueError(f"wanted must be in (0, 1], got {wanted}; pass such as 0.9")


def metrics_at_threshold(
    scores: np.ndarray, actual: np.ndarray, threshold: float, name: str
) -> dict[str, float]:
    """Returns recall and precision of the cases whose score is at least a threshold.

    Args:
      scores: (cases,) higher means more likely positive.
      actual: (cases,) bool, whether each is positive.
      threshold: of the scores.
      name: of the class, for the names of the metrics.

    Returns:
      Recall, NaN without a positive, and precision, NaN where no case is found.

    >>> metrics_at_threshold(np.array([0.9, 0.2, 0.6]), np.array([True, True, False]), 0.5, "S")
    {'recall_at_threshold/S': 0.5, 'precision_at_threshold/S': 0.5}
    """
    found = scores >= threshold
    actual = np.asarray(actual, bool)
    hits, positives, all_found = (int(x.sum()) for x in (found & actual, actual, found))
    return {
        f"recall_at_threshold/{name}": hits / positives if positives else float("nan"),
        f"precision_at_threshold/{name}": hits / all_found if all_found else float("nan"),
    }


def metrics_at_chosen_thresholds(
    valid: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    wanted: Mapping[str, float],
    classes: tuple[str, ...],
) -> dict[str, float]:
    """Returns recall and precision on test data at thresholds chosen on validation data.

    Args:
      valid, test: probabilities (cases, classes), and classes (cases,).
      wanted: recall by name of the class. A class without a validation case is omitted.
      classes: names of the classes.
    """
    found: dict[str, float] = {}
    for name, recall in wanted.items():
        c = classes.index(name)
        if (valid[1] == c).any():
            threshold = threshold_for_recall(valid[0][:, c], valid[1] == c, recall)
            found |= metrics_at_threshold(test[0][:, c], test[1] == c, threshold, name)
    return found
