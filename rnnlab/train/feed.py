"""The next update's batches, prepared on another thread while the device works on this one's."""

import faulthandler
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np

from rnnlab.errors import DataError
from rnnlab.tasks.batch import IGNORE, Batch
from rnnlab.tasks.data import Data

PATIENCE = 300.0
"""Seconds without a batch after which it is said."""


def feed(data: Data, accumulation: int, start: int, stop: int) -> Iterator[Batch]:
    """The batches of updates `start` to `stop - 1`, each with a leading axis of `accumulation`.

    Update n reads the batches n * accumulation and the ones after it, whenever it runs.

    Raises:
      ValueError: a batch has ids out of range, or those of one update differ in shape.
    """

    def prepare(update: int) -> Batch:
        first = update * accumulation
        batches = [data.train(first + k) for k in range(accumulation)]
        for batch in batches:
            check(data, batch)
        shapes = sorted({batch.inputs.shape for batch in batches})
        if len(shapes) > 1:
            raise ValueError(
                f"accumulation is {accumulation}, over batches of shapes {shapes[0]} and "
                f"{shapes[1]}; 1 is needed where lengths differ from batch to batch"
            )
        return jax.device_put(jax.tree.map(lambda *x: np.stack(x), *batches))

    with ThreadPoolExecutor(max_workers=1) as worker:
        following = worker.submit(prepare, start) if start < stop else None
        for update in range(start, stop):
            batch = _waited_for(following, update)
            if update + 1 < stop:
                following = worker.submit(prepare, update + 1)
            yield batch


def _waited_for(batch: Future, update: int) -> Batch:
    """A batch when it is there; says where all threads stand if it takes far too long."""
    while True:
        try:
            return batch.result(PATIENCE)
        except TimeoutError:
            if batch.done():  # it is the data's own
                raise
            warnings.warn(
                f"the data of update {update} is not there after {PATIENCE:g} s; what every thread "
                "is at follows",
                stacklevel=2,
            )
            faulthandler.dump_traceback(sys.__stderr__)


def check(data: Data, batch: Batch) -> None:
    """Refuses token ids and classes that are out of range, which JAX would clamp or call NaN.

    Raises:
      DataError: names the row, the step and the value.
    """
    if data.vocab_size is not None:
        _check_range("inputs", batch.inputs, 0, data.vocab_size)
    if data.loss == "categorical":
        _check_range("targets", batch.targets, IGNORE, data.out_features)


def _check_range(name: str, ids: np.ndarray, low: int, high: int) -> None:
    if ids.size and (ids.min() < low or ids.max() >= high):
        row, step = np.argwhere((ids < low) | (ids >= high))[0]
        raise DataError(
            f"{name} has {ids[row, step]} in row {row} at step {step}; a number from {low} to "
            f"{high - 1} is needed"
        )
