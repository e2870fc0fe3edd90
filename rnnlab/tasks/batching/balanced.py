"""Batches in which examples of rare classes appear at a wanted rate."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rnnlab.tasks.batch import Batch, loss_mask, select
from rnnlab.tasks.batching.sampler import EpochSampler
from rnnlab.tasks.data import RngStream, rng_for


@dataclass(frozen=True)
class BalancedSampler:
    """Batches of example indices of which a share is drawn by class.

    Examples that are drawn by class take the classes in turn, and for each class one of the
    examples that contain it, with equal probability. So an example of each class appears at least
    at the rate `share / classes`, however rare the class is. The other examples are those of an
    `EpochSampler`. There is no state except the batch number.

    Attributes:
      contains: (examples, classes) bool, whether an example has a target of a class.
      batch_size: examples per batch, at most those available.
      seed: of the draws and of the order.
      share: of the examples drawn by class, in [0, 1]; 0 is an `EpochSampler`.

    Raises:
      ValueError: share or batch_size is out of range, or no example contains a class.

    >>> contains = np.zeros((100, 2), bool)
    >>> contains[:, 0] = True
    >>> contains[7, 1] = True
    >>> sampler = BalancedSampler(contains, batch_size=4, seed=0, share=0.5)
    >>> [int((sampler.indices(n) == 7).sum()) for n in range(3)]
    [1, 1, 1]
    """

    contains: np.ndarray = field(repr=False)
    batch_size: int
    seed: int
    share: float
    _members: tuple[np.ndarray, ...] = field(init=False, repr=False)
    _epochs: EpochSampler = field(init=False, repr=False)

    def __post_init__(self):
        require_share(self.share)
        members = tuple(np.flatnonzero(column) for column in self.contains.T if column.any())
        if not members:
            raise ValueError("contains must have an example with a class, got none; add targets")
        object.__setattr__(self, "_members", members)
        epochs = EpochSampler(len(self.contains), self.batch_size, self.seed)
        object.__setattr__(self, "_epochs", epochs)

    def indices(self, n: int) -> np.ndarray:
        """Returns the example indices of batch n = 0, 1, 2, ...: (batch_size,) of int64."""
        indices = self._epochs.indices(n)
        # The number drawn by class up to batch n is the nearest integer below its share.
        first, end = (int(self.share * self.batch_size * k + 1e-9) for k in (n, n + 1))
        rng = rng_for(RngStream.TRAIN, self.seed, n)
        for slot, draw in enumerate(range(first, end)):
            members = self._members[draw % len(self._members)]
            indices[slot] = members[rng.integers(len(members))]
        return indices

    def take(self, dataset: Batch, n: int) -> Batch:
        """Returns batch n of a batch of all examples."""
        return select(dataset, self.indices(n))


def balanced_batches(
    dataset: Batch, num_classes: int, batching: str, batch_size: int, seed: int, share: float
) -> Callable[[int], Batch]:
    """Returns a function from a number 0, 1, 2, ... to a training batch of a `BalancedSampler`.

    Args:
      dataset: a batch of all examples, whose targets are classes.
      num_classes: number of classes.
      batching: must be "pad": buckets and packed rows are fixed sets of examples.
      batch_size: examples per batch, at most those available.
      seed, share: of the sampler.

    Raises:
      ValueError: the batching or the share is invalid.
    """
    if batching != "pad":
        raise ValueError(
            f"batching must be 'pad' where balance is > 0, got {batching!r}; remove one of them"
        )
    contains = contained_classes(dataset, num_classes)
    sampler = BalancedSampler(contains, min(batch_size, len(contains)), seed, share)
    return functools.partial(sampler.take, dataset)


def contained_classes(dataset: Batch, num_classes: int) -> np.ndarray:
    """Returns which classes each example has as a target, (examples, num_classes) bool.

    >>> batch = Batch(np.zeros((2, 2)), np.array([[0, 2], [-1, 1]]))
    >>> contained_classes(batch, 3).astype(int).tolist()
    [[1, 0, 1], [0, 1, 0]]
    """
    scored = loss_mask(dataset)
    return np.stack([((dataset.targets == c) & scored).any(1) for c in range(num_classes)], 1)


def require_share(share: float) -> None:
    """Raises ValueError if the share of examples drawn by class is not in [0, 1]."""
    if not 0 <= share <= 1:
        raise ValueError(
            f"balance must be in [0, 1], the share of examples drawn by class, got {share}; "
            "pass such as 0.5"
        )
