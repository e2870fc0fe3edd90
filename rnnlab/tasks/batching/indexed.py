"""Batches from data sets that return an example for an index, such as those of grain."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from rnnlab.tasks.batch import Batch


class IndexedDataset(Protocol):
    """A sequence of examples without end, such as a `grain.MapDataset` behind `repeat()`."""

    def __getitem__(self, index: int, /) -> Mapping[str, np.ndarray]:
        """Returns the arrays of an example by the name of their field of `Batch`, without batch
        axis."""


def indexed_rows(dataset: IndexedDataset, batch_size: int) -> Callable[[int, slice], Batch]:
    """Returns the function `rows` of a `TaskData`: batch n has the next `batch_size` examples.

    Args:
      dataset: returns examples of equal shapes; the same one for an index at each call.
      batch_size: examples per batch.

    >>> squares = [{"inputs": np.array([k]), "targets": np.array([k * k])} for k in range(6)]
    >>> indexed_rows(squares, 3)(1, slice(1, 3)).targets.tolist()
    [[16], [25]]
    """

    def rows(n: int, rows: slice) -> Batch:
        examples = [dataset[k] for k in range(n * batch_size, (n + 1) * batch_size)[rows]]
        return Batch(**{name: np.stack([x[name] for x in examples]) for name in examples[0]})

    return rows
