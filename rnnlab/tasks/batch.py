"""Batches of sequences, and which of their targets count in the loss."""

from typing import NamedTuple

import numpy as np

IGNORE_INDEX = -1
"""The class of a time step that is not scored."""


class Batch(NamedTuple):
    """Examples and their targets: host arrays, batch axis first.

    Attributes:
      inputs: token ids (batch, time) of int32, or values (batch, time, in_features) of float32.
      targets: classes (batch, time) of int32, `IGNORE_INDEX` where a time step is not scored; or
        values (batch, time, out_features) of float32, NaN where an entry is not scored. The label
        of a whole sequence is at its last time step.
      mask: (batch, time) bool, False in padding, which is on the right; None: no padding.
      reset: (batch, time) bool, True where a new sequence starts in a packed example; None:
        nowhere.
    """

    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray | None = None
    reset: np.ndarray | None = None


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
