"""The next update's batches, prepared on another thread while the device works on this one's."""

import faulthandler
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import Thread

import jax
import numpy as np

from rnnlab.errors import DataError
from rnnlab.tasks.batch import IGNORE, Batch
from rnnlab.tasks.data import TaskData

PATIENCE, SLICE, END = 300.0, 0.2, 5.0
"""Seconds without a batch after which it is said, between two looks at what else there is to do,
and for which the thread is given time to end."""


def feed(
    data: TaskData,
    accumulation: int,
    start: int,
    stop: int,
    between: Callable[[], None] = lambda: None,
) -> Iterator[Batch]:
    """The batches of updates `start` to `stop - 1`, each with a leading axis of `accumulation`.

    Update n reads the batches n * accumulation and the ones after it, whenever it runs. `between`
    is called again and again while a batch is waited for.

    Raises:
      ValueError: a batch has ids out of range, or those of one update differ in shape.
    """

    def prepare(update: int) -> Batch:
        first = update * accumulation
        batches = [data.train_batch(first + k) for k in range(accumulation)]
        for batch in batches:
            check(data, batch)
        shapes = sorted({batch.inputs.shape for batch in batches})
        if len(shapes) > 1:
            raise ValueError(
                f"accumulation is {accumulation}, over batches of shapes {shapes[0]} and "
                f"{shapes[1]}; 1 is needed where lengths differ from batch to batch"
            )
        return jax.device_put(jax.tree.map(lambda *x: np.stack(x), *batches))

    wanted: SimpleQueue[int | None] = SimpleQueue()
    ready: SimpleQueue[Batch | BaseException] = SimpleQueue()

    def work() -> None:
        while (update := wanted.get()) is not None:
            try:
                ready.put(prepare(update))
            except BaseException as error:
                ready.put(error)

    # A thread that the process does not wait for at its end: data may be stuck for ever.
    worker = Thread(target=work, daemon=True)
    worker.start()
    try:
        for update in range(start, stop):
            if update == start:
                wanted.put(update)
            batch = _waited_for(ready, update, between)
            if update + 1 < stop:
                wanted.put(update + 1)
            yield batch
    finally:
        wanted.put(None)
        worker.join(END)


def _waited_for(
    ready: SimpleQueue[Batch | BaseException], update: int, between: Callable[[], None]
) -> Batch:
    """A batch when it is there; says where all threads stand if it takes far too long."""
    since = time.monotonic()
    while True:
        try:
            batch = ready.get(timeout=SLICE)
        except Empty:
            between()
        else:
            if isinstance(batch, BaseException):
                raise batch
            return batch
        if time.monotonic() - since > PATIENCE:
            since = time.monotonic()
            warnings.warn(
                f"the data of update {update} is not there after {PATIENCE:g} s; what every thread "
                "is at follows",
                stacklevel=2,
            )
            faulthandler.dump_traceback(sys.__stderr__)


def check(data: TaskData, batch: Batch) -> None:
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
