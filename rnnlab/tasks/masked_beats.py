"""Heartbeats that are hidden from a model, which reconstructs them from the beats around them."""

from collections.abc import Callable

import numpy as np

from rnnlab.tasks.batch import Batch
from rnnlab.tasks.data import RngStream, rng_for

PERIOD = 8
"""Every eighth beat is hidden, so that the beats around a hidden one are visible."""


def hide(batch: Batch, offsets: np.ndarray) -> Batch:
    """Returns a batch in which every eighth beat is hidden, and is the only target.

    Args:
      batch: inputs (batch, time, features) of beats, and targets.
      offsets: (batch,) number of the first hidden beat of each example, below `PERIOD`.

    Returns:
      A batch whose inputs have 0 for a hidden beat, and one more feature, 1 where a beat is hidden.

    >>> beats = np.ones((1, 10, 1), np.float32)
    >>> hidden = hide(Batch(beats, beats), np.array([1]))
    >>> hidden.inputs[0, :3].tolist(), np.flatnonzero(~np.isnan(hidden.targets)).tolist()
    ([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [1, 9])
    """
    step = np.arange(batch.inputs.shape[1])
    is_hidden = ((step - offsets[:, None]) % PERIOD == 0)[..., None]
    inputs = np.concatenate(
        [np.where(is_hidden, 0, batch.inputs), is_hidden], axis=-1, dtype=np.float32
    )
    targets = np.where(is_hidden, batch.targets, np.nan).astype(np.float32)
    return batch._replace(inputs=inputs, targets=targets)


def hidden_beats(batch: Batch) -> np.ndarray:
    """Returns which beats of a batch of `hide` are hidden and real, (batch, time) bool."""
    return (batch.inputs[..., -1] == 1) & batch.mask


def hide_at_random(train_batch: Callable[[int], Batch], seed: int) -> Callable[[int], Batch]:
    """Returns a function of training batches whose hidden beats depend on the seed and the batch.

    Args:
      train_batch: returns training batch 0, 1, 2, ... of visible beats.
      seed: of the offsets.
    """

    def hidden(n: int) -> Batch:
        batch = train_batch(n)
        rng = rng_for(RngStream.AUGMENT, seed, n)
        return hide(batch, rng.integers(PERIOD, size=len(batch.inputs)))

    return hidden


def hide_each_once(batch: Batch) -> Batch:
    """Returns `PERIOD` copies of each example, in which each beat is hidden once.

    Args:
      batch: evaluated examples, with the fields that training and evaluation of beats have.
    """
    repeated = Batch(*(None if x is None else np.repeat(x, PERIOD, axis=0) for x in batch))
    return hide(repeated, np.tile(np.arange(PERIOD), len(batch.inputs)))
