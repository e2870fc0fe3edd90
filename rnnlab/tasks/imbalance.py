"""Weights of classes that differ in frequency."""

import numpy as np

from rnnlab.tasks.batch import IGNORE_INDEX


def class_weights(targets: np.ndarray, num_classes: int, power: float) -> tuple[float, ...]:
    """Returns a weight per class that decreases with its frequency in the training part.

        weight[c] = (mean count of the classes that occur / count[c]) ** power

    Args:
      targets: classes of the training part, of any shape; `IGNORE_INDEX` does not count.
      num_classes: number of classes. One that does not occur gets the weight 0.
      power: 0: all weights are 1; 1: inverse frequency, with which all classes have the same total
        weight; between them: a compromise.

    Raises:
      ValueError: the power is not in [0, 1], or no target counts.

    >>> class_weights(np.array([0, 0, 0, 1, -1]), num_classes=3, power=1.0)
    (0.6666666666666666, 2.0, 0.0)
    """
    require_power(power)
    scored = targets[targets != IGNORE_INDEX]
    if not scored.size:
        raise ValueError("targets must have a class at one time step at least, got none; add some")
    counts = np.bincount(scored, minlength=num_classes)
    occurs = counts > 0
    ratio = counts[occurs].mean() / np.maximum(counts, 1)
    return tuple(np.where(occurs, ratio**power, 0.0).tolist())


def require_power(power: float) -> None:
    """Raises ValueError if the power of class weights is not in [0, 1]."""
    if not 0 <= power <= 1:
        raise ValueError(
            f"class_weights must be in [0, 1], the power of the inverse frequency, got {power}; "
            "pass such as 0.5"
        )
