"""Stop training on NaN or Inf losses or on divergence."""

import math
from statistics import median
from typing import NamedTuple

import numpy as np

from rnnlab.errors import TrainingDivergedError

LOSS_WINDOW = 8
"""Number of updates whose median loss is the current one."""

DIVERGED_VS_BEST, DIVERGED_VS_INITIAL = 4.0, 1.5
"""A training has diverged where its loss exceeds the best by the first factor and the initial loss
by the second."""


class LossHistory(NamedTuple):
    """Recent losses and skipped updates: arrays, so that a checkpoint stores them.

    Attributes:
      recent: the last `LOSS_WINDOW` finite losses; NaN where there are fewer.
      initial: median of the first `LOSS_WINDOW` finite losses; NaN before them.
      best: lowest median so far.
      consecutive_skips: updates skipped since the last one that was applied.
      total_skips: updates skipped so far.
    """

    recent: np.ndarray
    initial: np.ndarray
    best: np.ndarray
    consecutive_skips: np.ndarray
    total_skips: np.ndarray

    @classmethod
    def empty(cls) -> "LossHistory":
        """Returns the history before the first update."""
        return cls(np.full(LOSS_WINDOW, np.nan), *map(np.array, (np.nan, np.inf, 0, 0)))


def check_divergence(
    history: LossHistory, step: int, loss: float, norm: float, applied: bool, max_skips: int
) -> LossHistory:
    """Returns the history after an update; raises where training has failed.

    Training has diverged where the median of the last 8 losses is 4 times the lowest median so far
    and 1.5 times the first: the model is worse than an untrained one. Negative losses, as of
    densities, are not judged.

    Args:
      history: the history before the update.
      step: the update's number, for the message.
      loss, norm: its loss and the norm of its gradient.
      applied: whether it changed the parameters; False where it was skipped.
      max_skips: number of consecutive updates that may be skipped.

    Raises:
      TrainingDivergedError: more updates were skipped, or training has diverged.

    >>> history = LossHistory.empty()
    >>> history = check_divergence(history, 1, 2.0, 1.0, applied=True, max_skips=1)
    >>> history = check_divergence(history, 2, float("nan"), 1.0, applied=False, max_skips=1)
    >>> int(history.total_skips), int(history.consecutive_skips)
    (1, 1)
    >>> check_divergence(history, 3, float("inf"), 1.0, applied=False, max_skips=1)
    Traceback (most recent call last):
    rnnlab.errors.TrainingDivergedError: step 3: 2 consecutive updates were skipped as NaN, Inf...
    """
    if not applied:
        consecutive, total = int(history.consecutive_skips) + 1, int(history.total_skips) + 1
        if consecutive > max_skips:
            raise TrainingDivergedError(
                f"step {step}: {consecutive} consecutive updates were skipped as NaN, Inf or "
                f"spikes; the last had loss {loss:.4g} and gradient norm {norm:.4g}"
            )
        counts = {"consecutive_skips": consecutive, "total_skips": total}
        return history._replace(**{name: np.array(count) for name, count in counts.items()})
    recent = np.append(history.recent[1:], loss)
    history = history._replace(recent=recent, consecutive_skips=np.array(0))
    if math.isnan(recent[0]):
        return history
    current = median(recent.tolist())
    initial = current if math.isnan(history.initial) else float(history.initial)
    best = min(current, float(history.best))
    if 0 < DIVERGED_VS_INITIAL * initial < current and DIVERGED_VS_BEST * best < current:
        raise TrainingDivergedError(
            f"step {step}: the loss has risen to {current:.4g}, from {best:.4g} at its best and "
            f"{initial:.4g} at first; the gradient norm is {norm:.4g}"
        )
    return history._replace(initial=np.array(initial), best=np.array(best))
