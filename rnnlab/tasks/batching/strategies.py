"""How rows of different lengths share training batches: padded, bucketed or packed."""

import functools
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from rnnlab.tasks.batch import Batch
from rnnlab.tasks.batching.packing import place
from rnnlab.tasks.batching.padding import Buckets, filled, unscored
from rnnlab.tasks.batching.sampler import Order
from rnnlab.validation import require_one_of

Batching = Literal["pad", "bucket", "pack"]


def training_batches(
    whole: Batch, batching: Batching, batch_size: int, seed: int
) -> Callable[[int], Batch]:
    """The training batch of a number 0, 1, 2, ..., out of a batch of all rows.

    Args:
      whole: rows padded on the right.
      batching: `"pad"`: every batch is as long as the longest row; `"bucket"`: rows of similar
        length meet, in batches of at most 4 lengths, so that few programs are compiled; `"pack"`:
        several sequences share a row as long as the longest, each begun by a reset.
      batch_size: rows a batch, at most those there are; packed ones where they are packed.
      seed: orders the batches.

    Raises:
      ValueError: `batching` is none of the three, or a row has no real step.

    >>> whole = Batch(
    ...     inputs=np.array([[1, 2, 3], [4, 0, 0], [5, 6, 0]], np.int32),
    ...     targets=np.array([[-1, -1, 0], [1, -1, -1], [-1, 1, -1]], np.int32),
    ...     mask=np.array([[True, True, True], [True, False, False], [True, True, False]]),
    ... )
    >>> packed = training_batches(whole, "pack", batch_size=2, seed=0)(0)
    >>> sorted(packed.inputs.tolist())
    [[1, 2, 3], [5, 6, 4]]
    """
    require_one_of("batching", batching, get_args(Batching))
    if whole.mask is None or batching == "pad":
        return functools.partial(_order(whole, batch_size, seed).take, whole)
    if batching == "bucket":
        return _bucketed(whole, min(batch_size, len(whole.inputs)), seed)
    packed = _packed(whole)
    return functools.partial(_order(packed, batch_size, seed).take, packed)


def _order(whole: Batch, batch_size: int, seed: int) -> Order:
    return Order(len(whole.inputs), min(batch_size, len(whole.inputs)), seed)


def _bucketed(whole: Batch, batch_size: int, seed: int) -> Callable[[int], Batch]:
    lengths = whole.mask.sum(axis=1)
    bounds = np.unique(np.ceil(np.quantile(lengths, (0.25, 0.5, 0.75, 1))).astype(int))
    buckets = Buckets(lengths.tolist(), bounds.tolist(), batch_size, seed)

    def take(n: int) -> Batch:
        rows, length = buckets.rows(n)
        return filled(Batch(*(None if x is None else x[rows, :length] for x in whole)), batch_size)

    return take


def _packed(whole: Batch) -> Batch:
    lengths = whole.mask.sum(axis=1)
    packing = place(lengths, int(lengths.max()))

    def fill(array: np.ndarray, value: float) -> np.ndarray:
        return packing.fill([x[:n] for x, n in zip(array, lengths, strict=True)], value)

    return Batch(
        fill(whole.inputs, 0),
        fill(whole.targets, unscored(whole.targets)),
        packing.mask,
        packing.reset,
    )
