"""Training batches of examples of different lengths: padded, bucketed or packed."""

import functools
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from rnnlab.tasks.batch import Batch, cut, select
from rnnlab.tasks.batching.packing import first_fit_decreasing
from rnnlab.tasks.batching.padding import BucketSampler, ignore_value, pad_batch
from rnnlab.tasks.batching.sampler import EpochSampler
from rnnlab.validation import require_one_of

Batching = Literal["pad", "bucket", "pack"]


def training_batches(
    dataset: Batch, batching: Batching, batch_size: int, seed: int
) -> Callable[[int], Batch]:
    """Returns a function from a number 0, 1, 2, ... to a training batch.

    Args:
      dataset: a batch of all examples, padded on the right.
      batching: `"pad"`: every batch is as long as the longest example; `"bucket"`: examples of
        similar length share a batch, in batches of at most 4 lengths, so that few programs are
        compiled; `"pack"`: several sequences share a row as long as the longest, with a reset at
        the start of each.
      batch_size: examples per batch (rows per batch when packed), at most those available.
      seed: orders the batches.

    Raises:
      ValueError: `batching` is not one of the three or not possible for these fields, or an example
        has no real time step.

    >>> dataset = Batch(
    ...     inputs=np.array([[1, 2, 3], [4, 0, 0], [5, 6, 0]], np.int32),
    ...     targets=np.array([[-1, -1, 0], [1, -1, -1], [-1, 1, -1]], np.int32),
    ...     mask=np.array([[True, True, True], [True, False, False], [True, True, False]]),
    ... )
    >>> packed = training_batches(dataset, "pack", batch_size=2, seed=0)(0)
    >>> sorted(packed.inputs.tolist())
    [[1, 2, 3], [5, 6, 4]]
    """
    require_one_of("batching", batching, get_args(Batching))
    if batching == "bucket" and dataset.mask is not None:
        return _bucketed(dataset, min(batch_size, len(dataset.inputs)), seed)
    if batching == "pack" and dataset.mask is not None:
        dataset = _packed(dataset)
    sampler = EpochSampler(len(dataset.inputs), min(batch_size, len(dataset.inputs)), seed)
    return functools.partial(sampler.take, dataset)


def _bucketed(dataset: Batch, batch_size: int, seed: int) -> Callable[[int], Batch]:
    lengths = dataset.mask.sum(axis=1)
    bounds = np.unique(np.ceil(np.quantile(lengths, (0.25, 0.5, 0.75, 1))).astype(int))
    sampler = BucketSampler(lengths.tolist(), bounds.tolist(), batch_size, seed)

    def take(n: int) -> Batch:
        indices, length = sampler.indices(n)
        return pad_batch(cut(select(dataset, indices), length), batch_size)

    return take


def _packed(dataset: Batch) -> Batch:
    if dataset.source is not None or dataset.labels is not None:
        raise ValueError(
            "batching must be 'pad' or 'bucket' where examples have a source or label sequences, "
            "got 'pack', which has several examples per row; choose another"
        )
    lengths = dataset.mask.sum(axis=1)
    packing = first_fit_decreasing(lengths, int(lengths.max()))

    def fill(array: np.ndarray | None, value: float) -> np.ndarray | None:
        if array is None:
            return None
        return packing.fill([x[:n] for x, n in zip(array, lengths, strict=True)], value)

    return Batch(
        fill(dataset.inputs, 0),
        fill(dataset.targets, ignore_value(dataset.targets)),
        packing.mask,
        packing.reset,
        fill(dataset.gaps, 0),
    )
