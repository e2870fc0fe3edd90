"""Which rows a training batch takes: seeded epochs, addressed by the batch number alone."""

import functools
from dataclasses import dataclass

import numpy as np

from rnnlab.tasks.batch import Batch
from rnnlab.tasks.data import ORDER, generator
from rnnlab.validation import require_positive_int


@dataclass(frozen=True)
class Order:
    """Rows 0 to size - 1 in batches, each row exactly once an epoch.

    Epoch e is the permutation drawn from (seed, e), or 0, 1, 2, ... where `shuffle` is False. The
    epochs are laid end to end and batch n takes places `n * batch_size` to
    `(n + 1) * batch_size - 1`: what is left at an epoch's end opens the next epoch's first batch.
    Nothing but the batch number is a state, so any batch can be had at any time.

    Attributes:
      size: number of rows.
      batch_size: rows a batch, at most `size`.
      seed: of the permutations.
      shuffle: False keeps the rows' own order in every epoch.

    Raises:
      ValueError: size or batch_size is below 1, or batch_size above size.

    >>> order = Order(size=5, batch_size=2, seed=0, shuffle=False)
    >>> [order.indices(n).tolist() for n in range(4)]
    [[0, 1], [2, 3], [4, 0], [1, 2]]
    """

    size: int
    batch_size: int
    seed: int
    shuffle: bool = True

    def __post_init__(self):
        require_positive_int(size=self.size, batch_size=self.batch_size)
        if self.batch_size > self.size:
            raise ValueError(
                f"batch_size is {self.batch_size}; at most {self.size}, the number of rows, "
                f"is needed"
            )

    def indices(self, n: int) -> np.ndarray:
        """The rows of batch number n = 0, 1, 2, ...: (batch_size,) of int64."""
        epoch, start = divmod(n * self.batch_size, self.size)
        rows = self._epoch(epoch)[start : start + self.batch_size]
        rest = self.batch_size - len(rows)
        return np.concatenate([rows, self._epoch(epoch + 1)[:rest]]) if rest else rows.copy()

    def take(self, whole: Batch, n: int) -> Batch:
        """The rows of batch number n, out of a batch of all rows."""
        rows = self.indices(n)
        return Batch(*(None if x is None else x[rows] for x in whole))

    def _epoch(self, epoch: int) -> np.ndarray:
        return permutation(self.size, self.seed, epoch) if self.shuffle else np.arange(self.size)


@functools.lru_cache(maxsize=4)
def permutation(size: int, *numbers: int) -> np.ndarray:
    """The read-only permutation of 0 to size - 1 drawn from `numbers`."""
    rows = generator(ORDER, *numbers).permutation(size)
    rows.flags.writeable = False
    return rows
