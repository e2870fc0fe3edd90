"""Batches are waited for: errors arrive, and a wait that is far too long is told."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from rnnlab.tasks.batch import Batch
from rnnlab.train import prefetch as module


def data(train):
    return SimpleNamespace(train=train, vocab_size=None, loss="squared")


def batch(n):
    return Batch(np.full((2, 3, 1), n, np.float32), np.zeros((2, 3, 1), np.float32))


def test_batches_come_in_order_and_those_of_one_update_together():
    found = list(module.feed(data(batch), 2, 1, 4))
    assert [x.inputs[:, 0, 0, 0].tolist() for x in found] == [[2, 3], [4, 5], [6, 7]]


@pytest.mark.parametrize("error", [ValueError("broken"), TimeoutError("its own")])
def test_an_error_of_the_data_arrives(error):
    def train(n):
        raise error

    with pytest.raises(type(error), match=str(error)):
        next(module.feed(data(train), 1, 0, 2))


def test_there_is_a_look_at_what_else_is_to_do_while_a_batch_is_waited_for(monkeypatch):
    """An error in that look ends the wait, and the stuck data holds nobody up."""
    stuck, looks = threading.Event(), []

    def train(n):
        stuck.wait(60)
        return batch(n)

    def between():
        looks.append(1)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "SLICE", 0.01)
    monkeypatch.setattr(module, "END", 0.01)
    with pytest.raises(KeyboardInterrupt):
        next(module.feed(data(train), 1, 0, 1, between))
    assert len(looks) == 3
    stuck.set()


def test_a_wait_that_is_too_long_is_told_and_goes_on(monkeypatch, capfd):
    def stuck(n):
        time.sleep(0.25)
        return batch(n)

    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with pytest.warns(UserWarning, match=r"data of update 0 is not there after 0\.1 s"):
        next(module.feed(data(stuck), 1, 0, 1))
    assert "in stuck" in capfd.readouterr().err
