"""Prepare batches on another thread, and put them on the device, while it computes an update."""

import faulthandler
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread

import jax
import numpy as np

from rnnlab.errors import DataError
from rnnlab.tasks.batch import IGNORE_INDEX, Batch, arrays
from rnnlab.tasks.data import TaskData
from rnnlab.train.losses import CLASS_LOSSES
from rnnlab.train.placement import Shardings, batch_shapes, own_rows, place
from rnnlab.validation import require_positive_int

STALL_WARNING_S, POLL_INTERVAL_S, JOIN_TIMEOUT_S = 300.0, 0.2, 5.0
"""Seconds until a stall warning; polling interval; join timeout of the worker thread."""


def prefetch_batches(
    data: TaskData,
    grad_accum_steps: int,
    start: int,
    stop: int,
    poll: Callable[[], None] = lambda: None,
    *,
    shardings: Shardings | None = None,
    depth: int = 2,
) -> Iterator[Batch]:
    """Yields the batches of updates `start` to `stop - 1`, stacked along a leading axis.

    Update n always reads the `grad_accum_steps` batches from n * grad_accum_steps on. While an
    update is computed, the batches of the next `depth` updates are prepared in order and put on the
    device. An error of the data is raised when its update is due, after all earlier updates.

    Args:
      data: the task.
      grad_accum_steps: batches per update.
      start: the first update.
      stop: the end of the updates.
      poll: is called repeatedly while a batch is awaited; what it raises ends the wait.
      shardings: returns the sharding of each array, from the shapes of the stacked batch, of which
        axis 1 is the batch axis. Where `data` has `rows`, this process then reads only the rows of
        its own devices. None: the default device.
      depth: number of updates whose batches are prepared ahead.

    Raises:
      ValueError: a batch holds ids out of range, the batches of one update differ in shape, or
        `depth` is less than 1.
    """
    require_positive_int(depth=depth)

    def prepare(update: int) -> Batch:
        numbers = range(update * grad_accum_steps, (update + 1) * grad_accum_steps)
        if shardings is None or data.rows is None:
            stacked = _stacked(data, [data.train_batch(n) for n in numbers])
            if shardings is None:
                return jax.device_put(stacked)
            shapes = batch_shapes(stacked)
            return place(stacked, 0, shapes, shardings(shapes))
        shapes, placed, rows = local_part()
        stacked = _stacked(data, [data.train_rows(n, rows) for n in numbers])
        return place(stacked, rows.start, shapes, placed)

    known: list[tuple[Batch, Batch, slice]] = []

    def local_part() -> tuple[Batch, Batch, slice]:
        """The shapes and shardings of a whole update, and the rows of this process."""
        if not known:
            shapes = batch_shapes(jax.tree.map(lambda x: x[None], data.train_batch(0)))
            shapes = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct((grad_accum_steps, *x.shape[1:]), x.dtype), shapes
            )
            placed = shardings(shapes)
            known.append((shapes, placed, own_rows(shapes, placed)))
        return known[0]

    requests: SimpleQueue[int | None] = SimpleQueue()
    ready: SimpleQueue[Batch | BaseException] = SimpleQueue()

    def work() -> None:
        while (update := requests.get()) is not None:
            try:
                ready.put(prepare(update))
            except BaseException as error:
                ready.put(error)

    # A daemon: the process exits even if reading data never returns.
    worker = Thread(target=work, daemon=True, name="rnnlab-prefetch")
    worker.start()
    try:
        for update in range(start, min(start + depth, stop)):
            requests.put(update)
        for update in range(start, stop):
            batch = _wait_for_batch(ready, update, poll)
            if update + depth < stop:
                requests.put(update + depth)
            yield batch
    finally:
        with suppress(Empty):  # updates that nobody waits for any more
            while True:
                requests.get_nowait()
        requests.put(None)
        worker.join(JOIN_TIMEOUT_S)


def _stacked(data: TaskData, batches: list[Batch]) -> Batch:
    """The valid batches of one update, stacked along a leading axis."""
    for batch in batches:
        validate_batch(data, batch)
    shapes = sorted({tuple(x.shape for x in arrays(batch)) for batch in batches})
    if len(shapes) > 1:
        first, other = next((a, b) for a, b in zip(*shapes[:2], strict=True) if a != b)
        raise ValueError(
            f"grad_accum_steps must be 1 where batches differ in shape, got {len(batches)} "
            f"for shapes {first} and {other}; lower train.grad_accum_steps"
        )
    return jax.tree.map(lambda *x: np.stack(x), *batches)


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
    if data.word_sizes is not None:
        _check_range("words", batch.inputs[..., 0], 0, data.word_sizes[0])
        _check_range("characters", batch.inputs[..., 1:], 0, data.word_sizes[1])
    if data.source_vocab_size is not None:
        _check_range("source", batch.source.inputs, 0, data.source_vocab_size)
    if data.loss in CLASS_LOSSES:
        _check_range("targets", batch.targets, IGNORE_INDEX, data.out_features)
    if batch.labels is not None:
        _check_range("labels", batch.labels, IGNORE_INDEX, data.out_features)
    if batch.gaps is not None and not (batch.gaps >= 0).all():
        example, step = np.argwhere(~(batch.gaps >= 0))[0]
        raise DataError(
            f"gaps must be >= 0, got {batch.gaps[example, step]} in example {example} at time step "
            f"{step}; sort the time steps"
        )


def _check_range(name: str, ids: np.ndarray, low: int, high: int) -> None:
    if ids.size and (ids.min() < low or ids.max() >= high):
        example, step, *rest = np.argwhere((ids < low) | (ids >= high))[0]
        raise DataError(
            f"{name} must be from {low} to {high - 1}, got {ids[example, step, *rest]} in example "
            f"{example} at time step {step}; correct the data"
        )
