"""Prepare the next update's batches on another thread while the device computes this update."""

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
from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.tasks.data import TaskData

STALL_WARNING_S, POLL_INTERVAL_S, JOIN_TIMEOUT_S = 300.0, 0.2, 5.0
"""Seconds until a stall warning; polling interval; join timeout of the worker thread."""


def prefetch_batches(
    data: TaskData,
    grad_accum_steps: int,
    start: int,
    stop: int,
    poll: Callable[[], None] = lambda: None,
) -> Iterator[Batch]:
    """Yields the batches of updates `start` to `stop - 1`, stacked along a leading axis.

    Update n always reads the `grad_accum_steps` batches from n * grad_accum_steps on. `poll` is
    called repeatedly while a batch is awaited; what it raises ends the wait.

    Raises:
      ValueError: a batch holds ids out of range, or the batches of one update differ in shape.
    """

    def prepare(update: int) -> Batch:
        first = update * grad_accum_steps
        batches = [data.train_batch(first + k) for k in range(grad_accum_steps)]
        for batch in batches:
            validate_batch(data, batch)
        shapes = sorted({batch.inputs.shape for batch in batches})
        if len(shapes) > 1:
            raise ValueError(
                f"grad_accum_steps must be 1 where batches differ in shape, got {grad_accum_steps} "
                f"for shapes {shapes[0]} and {shapes[1]}; lower train.grad_accum_steps"
            )
        return jax.device_put(jax.tree.map(lambda *x: np.stack(x), *batches))

    requests: SimpleQueue[int | None] = SimpleQueue()
    ready: SimpleQueue[Batch | BaseException] = SimpleQueue()

    def work() -> None:
        while (update := requests.get()) is not None:
            try:
                ready.put(prepare(update))
            except BaseException as error:
                ready.put(error)

    # A daemon: the process exits even if reading data never returns.
    worker = Thread(target=work, daemon=True)
    worker.start()
    try:
        for update in range(start, stop):
            if update == start:
                requests.put(update)
            batch = _wait_for_batch(ready, update, poll)
            if update + 1 < stop:
                requests.put(update + 1)
            yield batch
    finally:
        requests.put(None)
        worker.join(JOIN_TIMEOUT_S)


def _wait_for_batch(
    ready: SimpleQueue[Batch | BaseException], update: int, poll: Callable[[], None]
) -> Batch:
    """Returns a batch when it is ready; prints the stack of every thread after a long wait."""
    since = time.monotonic()
    while True:
        try:
            batch = ready.get(timeout=POLL_INTERVAL_S)
        except Empty:
            poll()
        else:
            if isinstance(batch, BaseException):
                raise batch
            return batch
        if time.monotonic() - since > STALL_WARNING_S:
            since = time.monotonic()
            warnings.warn(
                f"the data of update {update} is not ready after {STALL_WARNING_S:g} s; the stack "
                "of every thread follows",
                stacklevel=2,
            )
            faulthandler.dump_traceback(sys.__stderr__)


def validate_batch(data: TaskData, batch: Batch) -> None:
    """Checks that token ids, classes and gaps are in range; JAX would clamp them or return NaN.

    Raises:
      DataError: names the example, the time step and the value.
    """
    if data.vocab_size is not None:
        _check_range("inputs", batch.inputs, 0, data.vocab_size)
    if data.loss == "categorical":
        _check_range("targets", batch.targets, IGNORE_INDEX, data.out_features)
    if batch.gaps is not None and not (batch.gaps >= 0).all():
        example, step = np.argwhere(~(batch.gaps >= 0))[0]
        raise DataError(
            f"gaps must be >= 0, got {batch.gaps[example, step]} in example {example} at time step "
            f"{step}; sort the time steps"
        )


def _check_range(name: str, ids: np.ndarray, low: int, high: int) -> None:
    if ids.size and (ids.min() < low or ids.max() >= high):
        example, step = np.argwhere((ids < low) | (ids >= high))[0]
        raise DataError(
            f"{name} must be from {low} to {high - 1}, got {ids[example, step]} in example "
            f"{example} at time step {step}; correct the data"
        )
