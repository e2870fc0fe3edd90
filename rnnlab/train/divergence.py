"""When a training has to stop by itself: losses that are no numbers, or that grow without end."""

import math
from statistics import median
from typing import NamedTuple

import numpy as np

from rnnlab.errors import TrainingDivergedError

WINDOW = 8
"""Updates whose median loss is the present one."""

RATIO = 4.0
"""Times the best loss ..."""

WORSE = 1.5
"""... and times the first, beyond which the present loss says that training has diverged."""


class Health(NamedTuple):
    """What the guard remembers between two updates: arrays, so that a checkpoint holds them.

    Attributes:
      recent: the last finite losses, NaN where there are none yet.
      first: the median of the first of them.
      best: the lowest median.
      in_a_row: updates that were skipped since the last that was not.
      skipped: such updates so far.
    """

    recent: np.ndarray
    first: np.ndarray
    best: np.ndarray
    in_a_row: np.ndarray
    skipped: np.ndarray

    @classmethod
    def fresh(cls) -> "Health":
        """Before the first update."""
        return cls(np.full(WINDOW, np.nan), *map(np.array, (np.nan, np.inf, 0, 0)))


def watched(health: Health, step: int, loss: float, norm: float, taken: bool, limit: int) -> Health:
    """The health after an update.

    A training has diverged where the median of the last losses is four times the best that it has
    been and one and a half times what it was at first: a model that is worse than an untrained one.
    Losses below 0, of densities, are not judged.

    Args:
      step: the update's number, for the message.
      loss, norm: its loss and its gradient's norm.
      taken: whether it changed the parameters.
      limit: updates in a row that may be skipped.

    Raises:
      DivergedError: more were skipped, or the training has diverged.

    >>> health = Health.fresh()
    >>> health = watched(health, 1, 2.0, 1.0, taken=True, limit=1)
    >>> health = watched(health, 2, float("nan"), 1.0, taken=False, limit=1)
    >>> int(health.skipped), int(health.in_a_row)
    (1, 1)
    >>> watched(health, 3, float("inf"), 1.0, taken=False, limit=1)
    Traceback (most recent call last):
    rnnlab.errors.DivergedError: step 3: 2 updates in a row were skipped, as not finite...
    """
    if not taken:
        in_a_row, skipped = int(health.in_a_row) + 1, int(health.skipped) + 1
        if in_a_row > limit:
            raise TrainingDivergedError(
                f"step {step}: {in_a_row} updates in a row were skipped, as not finite or as "
                f"spikes; the last had loss {loss:.4g} and gradient norm {norm:.4g}"
            )
        return health._replace(in_a_row=np.array(in_a_row), skipped=np.array(skipped))
    recent = np.append(health.recent[1:], loss)
    health = health._replace(recent=recent, in_a_row=np.array(0))
    if math.isnan(recent[0]):
        return health
    present = median(recent.tolist())
    first = present if math.isnan(health.first) else float(health.first)
    best = min(present, float(health.best))
    if 0 < WORSE * first < present and RATIO * best < present:
        raise TrainingDivergedError(
            f"step {step}: the loss has risen to {present:.4g}, from {best:.4g} at its best and "
            f"{first:.4g} at first; the gradient's norm is {norm:.4g}"
        )
    return health._replace(first=np.array(first), best=np.array(best))
