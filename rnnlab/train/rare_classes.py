"""Metrics for rare classes, which a high accuracy hides.

`outputs` are logits: (time_steps, classes) with classes (time_steps,) as targets, or
(time_steps, labels) with labels (time_steps, labels) of 0, 1 or NaN.
"""

import numpy as np
from scipy.special import expit, softmax

from rnnlab.tasks.reference import risk


def average_precision(
    outputs: np.ndarray, targets: np.ndarray, *, of_class: int | None = None
) -> float:
    """Returns the average precision: the area under the precision-recall curve, by steps.

    Args:
      outputs, targets: as in this module.
      of_class: one class against the others; None: the mean over the classes that occur, or the
        second of two classes, or all labels together.

    NaN where only one class occurs.

    >>> labels = np.array([[1.0], [0.0], [1.0]])
    >>> round(average_precision(np.array([[2.0], [1.0], [0.0]]), labels), 3)
    0.833
    """
    from sklearn.metrics import average_precision_score

    if targets.ndim > 1:
        scores, actual = _labels(outputs, targets)
        if len(np.unique(actual)) < 2:
            return float("nan")
        return float(average_precision_score(actual, scores))
    present = np.unique(targets)
    if len(present) < 2:
        return float("nan")
    scores = softmax(outputs.astype(np.float64), -1)
    if of_class is None and outputs.shape[-1] == 2:
        of_class = 1
    chosen = present if of_class is None else [of_class]
    if not np.isin(chosen, present).all():
        return float("nan")
    return float(np.mean([average_precision_score(targets == c, scores[:, c]) for c in chosen]))


def sensitivity_precision(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Returns the largest min(sensitivity, precision) of the positive class over all thresholds.

    The threshold is the best one of these data, so this is an upper bound for one chosen before.
    Positive is the second of two classes, or a label of 1.

    Source: the first score of the PhysioNet/CinC Challenge 2012, at its best threshold.

    >>> labels = np.array([[1.0], [0.0], [1.0], [0.0]])
    >>> round(sensitivity_precision(np.array([[3.0], [2.0], [1.0], [0.0]]), labels), 3)
    0.667
    """
    return risk.sensitivity_precision(*_binary(outputs, targets))


def squared_probability_errors(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the squared error of each predicted probability, whose mean is the Brier score.

    For classes it is the sum over classes, for two classes that of the second only.

    Source: Brier, "Verification of forecasts expressed in terms of probability" (1950).
    """
    if targets.ndim > 1:
        scores, actual = _labels(outputs, targets)
        return np.square(scores - actual)
    p = softmax(outputs.astype(np.float64), -1)
    errors = np.square(p - np.eye(p.shape[-1])[targets])
    return errors[:, 1] if p.shape[-1] == 2 else errors.sum(-1)


def recall(outputs: np.ndarray, targets: np.ndarray, *, of_class: int) -> float:
    """Returns the share of a class's time steps that are predicted as it; NaN without any."""
    actual = targets == of_class
    return float(np.mean(outputs.argmax(-1)[actual] == of_class)) if actual.any() else float("nan")


def precision(outputs: np.ndarray, targets: np.ndarray, *, of_class: int) -> float:
    """Returns the share of the time steps predicted as a class that have it; 0 without any."""
    chosen = outputs.argmax(-1) == of_class
    return float(np.mean(targets[chosen] == of_class)) if chosen.any() else 0.0


def _binary(outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if targets.ndim > 1:
        return _labels(outputs, targets)
    return softmax(outputs.astype(np.float64), -1)[:, 1], targets == 1


def _labels(outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of the known labels, and whether they hold."""
    known = ~np.isnan(targets)
    return expit(outputs[known].astype(np.float64)), targets[known] > 0.5
