"""Prefetching: order, errors of the data, polling and stall warnings."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from rnnlab.tasks.batch import Batch
from rnnlab.train import prefetch as module


def data(train):
    return SimpleNamespace(train_batch=train, vocab_size=None, loss="squared")


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
