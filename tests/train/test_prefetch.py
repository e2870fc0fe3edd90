"""Prefetching: order, errors of the data, polling and stall warnings."""

import threading
import time
from dataclasses import replace

import jax
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from rnnlab.tasks.batch import Batch, select
from rnnlab.tasks.data import TaskData
from rnnlab.train import placement
from rnnlab.train import prefetch as module


def data(train):
    return TaskData(
        loss="squared",
        metrics=("mse",),
        out_features=1,
        train_batch=train,
        eval_sets={},
        baselines=dict,
        in_features=1,
    )


def batch(n):
    return Batch(np.full((2, 3, 1), n, np.float32), np.zeros((2, 3, 1), np.float32))


def test_prefetch_stacks_the_batches_of_an_update_in_order():
    found = list(module.prefetch_batches(data(batch), 2, 1, 4))
    assert [x.inputs[:, 0, 0, 0].tolist() for x in found] == [[2, 3], [4, 5], [6, 7]]


@pytest.mark.parametrize("error", [ValueError("broken"), TimeoutError("its own")])
def test_prefetch_raises_errors_of_the_data(error):
    def train(n):
        raise error

    with pytest.raises(type(error), match=str(error)):
        next(module.prefetch_batches(data(train), 1, 0, 2))


def test_prefetch_polls_while_a_batch_is_awaited(monkeypatch):
    """An exception of `poll` ends the wait although the data is stuck."""
    stuck, polls = threading.Event(), []

    def train(n):
        stuck.wait(60)
        return batch(n)

    def poll():
        polls.append(1)
        if len(polls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "POLL_INTERVAL_S", 0.01)
    monkeypatch.setattr(module, "JOIN_TIMEOUT_S", 0.01)
    with pytest.raises(KeyboardInterrupt):
        next(module.prefetch_batches(data(train), 1, 0, 1, poll))
    assert len(polls) == 3
    stuck.set()


def test_prefetch_long_wait_warns_and_continues(monkeypatch, capfd):
    def stuck(n):
        time.sleep(0.25)
        return batch(n)

    monkeypatch.setattr(module, "STALL_WARNING_S", 0.1)
    with pytest.warns(UserWarning, match=r"data of update 0 is not ready after 0\.1 s"):
        next(module.prefetch_batches(data(stuck), 1, 0, 1))
    assert "in stuck" in capfd.readouterr().err


def threads():
    return [x for x in threading.enumerate() if x.name == "rnnlab-prefetch"]


def test_prefetch_prepares_depth_updates_ahead_and_leaves_no_thread():
    made = []

    def train(n):
        made.append(n)
        return batch(n)

    stream = module.prefetch_batches(data(train), 1, 0, 9, depth=2)
    first = next(stream)
    assert isinstance(first.inputs, jax.Array)
    for _ in range(500):
        if made == [0, 1, 2]:
            break
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2]  # of the update in progress and of the next two
    stream.close()
    assert made == [0, 1, 2]
    assert not threads()


def test_prefetch_error_of_a_later_update_comes_after_the_batches_before_it():
    def train(n):
        if n == 2:
            raise ValueError("broken")
        return batch(n)

    stream = module.prefetch_batches(data(train), 1, 0, 9, depth=5)
    assert int(next(stream).inputs[0, 0, 0, 0]) == 0
    time.sleep(0.05)  # the worker meets the error
    assert int(next(stream).inputs[0, 0, 0, 0]) == 1
    with pytest.raises(ValueError, match="broken"):
        next(stream)
    assert not threads()


def test_prefetch_depth_0_raises():
    with pytest.raises(ValueError, match="depth must be"):
        next(module.prefetch_batches(data(batch), 1, 0, 1, depth=0))


def test_prefetch_with_shardings_reads_own_rows_and_places_them():
    asked = []

    def rows(n, rows):
        asked.append((n, rows))
        return select(batch(n), rows)

    device = SingleDeviceSharding(jax.devices()[0])
    task = replace(data(batch), rows=rows)
    stream = module.prefetch_batches(
        task, 2, 3, 5, shardings=lambda x: jax.tree.map(lambda _: device, x)
    )
    for update, found in enumerate(stream, 3):
        expected = np.stack([batch(2 * update).inputs, batch(2 * update + 1).inputs])
        np.testing.assert_array_equal(found.inputs, expected)
        assert found.inputs.sharding == device
    assert asked == [(n, slice(0, 2)) for n in (6, 7, 8, 9)]


def test_own_rows_are_those_of_the_process_devices():
    class Sharding(SingleDeviceSharding):
        """Of a process whose only device holds rows 4 to 6 of 8."""

        def addressable_devices_indices_map(self, shape):
            return {jax.devices()[0]: (slice(None), slice(4, 6), *[slice(None)] * (len(shape) - 2))}

    whole = Batch(np.arange(24.0).reshape(1, 8, 3), None)
    shapes = placement.batch_shapes(whole)
    placed = jax.tree.map(lambda _: Sharding(jax.devices()[0]), shapes)
    assert placement.own_rows(shapes, placed) == slice(4, 6)
