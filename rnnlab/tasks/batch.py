"""Batches of sequences, and which of their targets count in the loss."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

IGNORE_INDEX = -1
"""The class of a time step that is not scored, and of a label after the end of a label sequence."""


class Source(NamedTuple):
    """A second sequence of each example, with a time axis of its own, which an encoder reads.

    Attributes:
      inputs: token ids (batch, source_time) of int32, or values (batch, source_time, features) of
        float32.
      mask: (batch, source_time) bool, False in padding, which is on the right; None: no padding.
    """

    inputs: np.ndarray
    mask: np.ndarray | None = None


class Batch(NamedTuple):
    """Examples and their targets: host arrays, batch axis first. Most fields are optional.

    Attributes:
      inputs: token ids (batch, time) of int32, or values (batch, time, in_features) of float32.
      targets: classes (batch, time) of int32, `IGNORE_INDEX` where a time step is not scored; or
        values (batch, time, out_features) of float32, NaN where an entry is not scored. The label
        of a whole sequence is at its last time step. None where `labels` are the targets.
      mask: (batch, time) bool, False in padding, which is on the right; None: no padding.
      reset: (batch, time) bool, True where a new sequence starts in a packed example; None:
        nowhere.
      gaps: (batch, time) of float32, the time since the time step before, in a unit of the task; 0
        at the first time step of a sequence and in padding. None: time steps are equally spaced.
      source: a second sequence of each example.
      labels: (batch, label_time) of int32, a sequence of labels whose positions are not those of
        the inputs; `IGNORE_INDEX` after its end.
      example: (batch,) of int32, the number of each example in its data set, -1 in padding. It
        leads from outputs back to what a task knows of an example.
      negatives: (batch, samples) of int32, classes that a loss of sampled classes compares each
        target of an example with.
    """

    inputs: np.ndarray
    targets: np.ndarray | None
    mask: np.ndarray | None = None
    reset: np.ndarray | None = None
    gaps: np.ndarray | None = None
    source: Source | None = None
    labels: np.ndarray | None = None
    example: np.ndarray | None = None
    negatives: np.ndarray | None = None


TIME_FIELDS = ("inputs", "targets", "mask", "reset", "gaps")
"""The fields of `Batch` that have the time axis of the inputs."""


def select(batch: Batch, rows: Any) -> Batch:
    """Returns some of the examples, in all fields.

    Args:
      batch: examples.
      rows: indices, flags or a slice of the batch axis.

    >>> select(Batch(np.array([[1, 2], [3, 4]]), None), [1]).inputs.tolist()
    [[3, 4]]
    """
    return _map_arrays(lambda x: x[rows], batch)


def cut(batch: Batch, length: int) -> Batch:
    """Returns the first `length` time steps of each example; other axes stay.

    >>> batch = Batch(np.array([[1, 2]]), None, labels=np.array([[5, 6, 7]]))
    >>> cut(batch, 1).inputs.tolist(), cut(batch, 1).labels.tolist()
    ([[1]], [[5, 6, 7]])
    """
    fields = {name: getattr(batch, name) for name in TIME_FIELDS}
    return batch._replace(
        **{name: None if x is None else x[:, :length] for name, x in fields.items()}
    )


def arrays(batch: Batch) -> list[np.ndarray]:
    """Returns the arrays that a batch has, in the order of its fields, as for a fingerprint.

    >>> len(arrays(Batch(np.zeros((1, 2)), None, source=Source(np.zeros((1, 3))))))
    2
    """
    found: list[np.ndarray] = []
    _map_arrays(found.append, batch)
    return found


def _map_arrays(f: Callable[[np.ndarray], Any], batch: Any) -> Any:
    """Returns a batch, or a part of one, of the results of `f`."""
    parts = []
    for x in batch:
        is_part = isinstance(x, tuple)
        parts.append(None if x is None else _map_arrays(f, x) if is_part else f(x))
    return type(batch)(*parts)


def loss_mask(batch: Batch) -> np.ndarray:
    """Returns which targets are scored, bool of the shape of `batch.targets`.

    >>> batch = Batch(np.zeros((1, 3), np.int32), np.array([[IGNORE_INDEX, 2, 0]], np.int32))
    >>> loss_mask(batch)
    array([[False,  True,  True]])
    """
    if np.issubdtype(batch.targets.dtype, np.integer):
        known = batch.targets != IGNORE_INDEX
        return known if batch.mask is None else known & batch.mask
    known = ~np.isnan(batch.targets)
    return known if batch.mask is None else known & batch.mask[..., None]


def last_steps(mask: np.ndarray) -> np.ndarray:
    """Returns where each example has its last real time step, bool of the mask's shape.

    >>> last_steps(np.array([[True, True, False], [False, False, False]])).tolist()
    [[False, True, False], [False, False, False]]
    """
    after = np.pad(mask[:, 1:], ((0, 0), (0, 1)))
    return mask & ~after
