"""Seeded epochs of examples, addressed by the batch number only."""

import functools
from dataclasses import dataclass

import numpy as np

from rnnlab.tasks.batch import Batch, select
from rnnlab.tasks.data import RngStream, rng_for
from rnnlab.validation import require_positive_int


@dataclass(frozen=True)
class EpochSampler:
    """Batches of example indices in which each example occurs exactly once per epoch.

    Epoch e is the permutation drawn from (seed, e), or 0, 1, 2, ... if `shuffle` is False. The
    epochs are concatenated and batch n takes positions `n * batch_size` to
    `(n + 1) * batch_size - 1`: the remainder of an epoch starts a batch that the next epoch fills.
    There is no state except the batch number, so that any batch can be drawn at any time.

    Attributes:
      size: number of examples.
      batch_size: examples per batch, at most `size`.
      seed: of the permutations.
      shuffle: False keeps the order of the examples in every epoch.

    Raises:
      ValueError: size or batch_size is less than 1, or batch_size is greater than size.

    >>> sampler = EpochSampler(size=5, batch_size=2, seed=0, shuffle=False)
    >>> [sampler.indices(n).tolist() for n in range(4)]
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
                f"batch_size must be <= {self.size}, the number of examples, got "
                f"{self.batch_size}; lower it"
            )

    def indices(self, n: int) -> np.ndarray:
        """Returns the example indices of batch n = 0, 1, 2, ...: (batch_size,) of int64."""
        epoch, start = divmod(n * self.batch_size, self.size)
        indices = self._epoch(epoch)[start : start + self.batch_size]
        missing = self.batch_size - len(indices)
        if missing:
            return np.concatenate([indices, self._epoch(epoch + 1)[:missing]])
        return indices.copy()

    def take(self, dataset: Batch, n: int) -> Batch:
        """Returns batch n of a batch of all examples."""
        return select(dataset, self.indices(n))

    def _epoch(self, epoch: int) -> np.ndarray:
        return permutation(self.size, self.seed, epoch) if self.shuffle else np.arange(self.size)


@functools.lru_cache(maxsize=4)
def permutation(size: int, *numbers: int) -> np.ndarray:
    """Returns the read-only permutation of 0 to size - 1 drawn from `numbers`."""
    indices = rng_for(RngStream.ORDER, *numbers).permutation(size)
    indices.flags.writeable = False
    return indices
