"""What the loop remembers from step to step, and how it shows where it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnnlab.records import Record
from rnnlab.train.divergence import Health


class LoopState(NamedTuple):
    """What the loop itself remembers between two steps: arrays, so that a checkpoint holds them.

    Attributes:
      best: the best value of the first metric so far; infinitely bad before the first evaluation.
      best_step: the step that it belongs to.
      stale: evaluations since the value was last improved on.
      evaluated: the step that was evaluated last, -1 before.
      seconds: running time so far, over all sittings.
      health: the losses by which training is stopped where it fails.
    """

    best: np.ndarray
    best_step: np.ndarray
    stale: np.ndarray
    evaluated: np.ndarray
    seconds: np.ndarray
    health: Health

    @classmethod
    def fresh(cls, worst: float) -> "LoopState":
        """Before the first evaluation."""
        return cls(*map(np.array, (worst, 0, 0, -1, 0.0)), Health.fresh())


@dataclass(frozen=True)
class Reporter:
    """Where the loop reports to. By default nothing is shown.

    Attributes:
      advance: called after each update with its number and the latest metrics.
      say: called with a line for the reader.
      title: the first of them, said when the state is there.
    """

    advance: Callable[[int, Record], None] = lambda step, metrics: None
    say: Callable[[str], None] = lambda line: None
    title: str = ""
