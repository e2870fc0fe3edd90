"""What a task is once it is opened: batches by number, held-out sets, floors."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from rnnlab.tasks.batch import Batch


@dataclass(frozen=True)
class TaskData:
    """An opened task. All of it is a pure function of the task, the seed and an index.

    Attributes:
      loss: `"categorical"` (classes), `"binary"` (several labels a step) or `"squared"` (values).
      metrics: names of `rnnlab.train.metrics.METRICS`; by the first the best step is chosen.
      out_features: number of classes, labels or values a step.
      train: the training batch of a number 0, 1, 2, ...: the same one at each call.
      heldout: sets of batches by name. The first chooses the best step, the last is reported.
      floors: what trivial predictors reach on the last held-out set, by name: a number is of the
        first metric, a mapping has one for each metric that it names. Computed when called.
      vocab_size: number of token ids; None where inputs are values.
      in_features: number of values a step; None where inputs are tokens.
      causal: whether a step's targets are later inputs, which a model that reads from the end sees.
      stateful: row r of batch n + 1 continues row r of batch n, but for its resets.
      unit: size of 1 of the targets in the data's own units, where `rmse` and `mae` are given.
      symbols: what the token ids stand for, where they are text.
      fingerprint: digest of the data and what was done to it; seeds and sizes for generators.
    """

    loss: str
    metrics: tuple[str, ...]
    out_features: int
    train: Callable[[int], Batch]
    heldout: Mapping[str, Callable[[], Iterable[Batch]]]
    floors: Callable[[], Mapping[str, float | Mapping[str, float]]]
    vocab_size: int | None = None
    in_features: int | None = None
    causal: bool = False
    stateful: bool = False
    unit: float = 1.0
    symbols: tuple[str, ...] = field(default=(), repr=False)
    fingerprint: str = ""


class Task(Protocol):
    """A frozen dataclass of a task's settings."""

    def open(self, seed: int) -> TaskData:
        """Reads or prepares the data. `seed` orders or draws the training batches alone."""


def generator(purpose: int, *numbers: int) -> np.random.Generator:
    """NumPy's generator for a purpose (`TRAIN`, `HELDOUT`, ...) and a seed and index within it.

    >>> bool(generator(TRAIN, 0, 7).integers(100) == generator(TRAIN, 0, 7).integers(100))
    True
    """
    return np.random.default_rng([purpose, *numbers])


TRAIN, HELDOUT, FIXED, ORDER = range(4)
"""Purposes: training draws; held-out draws, the same for every seed; what a task fixes; orders."""
