"""Pad batches so that a mesh divides their axes."""

from typing import Any

import jax
import numpy as np

from rnnlab.tasks.batch import TIME_FIELDS, Batch


def pad_batch(batch: Batch, examples: int, length: int) -> Batch:
    """Returns a batch of at least `examples` examples and `length` time steps.

    What is added is at the end and has `mask` False, so that it has no target, holds the states
    and counts in no mean. Label sequences and second sequences get examples, but no time steps.

    Args:
      batch: host arrays.
      examples: number of examples of the result; fewer than there are: none is added.
      length: number of time steps of the result; the same.

    >>> padded = pad_batch(Batch(np.array([[3, 4, 5]]), np.array([[4, 5, 6]])), 2, 4)
    >>> padded.inputs.tolist(), padded.mask.tolist()
    ([[3, 4, 5, 0], [0, 0, 0, 0]], [[True, True, True, False], [False, False, False, False]])
    """
    found, time_steps = batch.inputs.shape[:2]
    more, longer = max(examples - found, 0), max(length - time_steps, 0)
    if not more and not longer:
        return batch
    if batch.mask is None:
        batch = batch._replace(mask=np.ones((found, time_steps), bool))

    def padded(x: np.ndarray, has_time: bool) -> np.ndarray:
        widths = [(0, more), (0, longer if has_time else 0), *[(0, 0)] * x.ndim]
        return np.pad(x, widths[: x.ndim])

    fields: dict[str, Any] = {
        name: jax.tree.map(lambda x, n=name: padded(x, n in TIME_FIELDS), value)
        for name, value in batch._asdict().items()
    }
    return Batch(**fields)
