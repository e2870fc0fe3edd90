"""Copying tasks against rules for one example at a time."""

import math
from collections import Counter

import numpy as np
import pytest

from rnnlab.tasks.batch import IGNORE_INDEX
from rnnlab.tasks.copying import CopyMemory, SelectiveCopying


def test_selective_copying_targets_are_the_data_in_order():
    task = SelectiveCopying(length=30, tokens=5, vocab_size=9, batch_size=200)
    batch = task.load(seed=0).train_batch(0)
    assert batch.inputs.shape == (200, 35)
    for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        data = [token for token in inputs[:30] if token != 0]
        assert len(data) == 5
        assert set(data) <= set(range(1, 8))
        assert inputs[30:] == [8] * 5
        assert targets == [IGNORE_INDEX] * 30 + data


def test_selective_copying_positions_and_tokens_are_uniform():
    task = SelectiveCopying(length=10, tokens=4, vocab_size=6, batch_size=5000)
    inputs = task.load(seed=0).train_batch(0).inputs[:, :10]
    assert np.abs((inputs > 0).mean(0) - 0.4).max() < 0.03
    tokens = Counter(inputs[inputs > 0].tolist())
    assert set(tokens) == {1, 2, 3, 4}
    assert max(abs(count / 20_000 - 0.25) for count in tokens.values()) < 0.015


def test_selective_copying_without_blanks_is_all_data():
    task = SelectiveCopying(length=4, tokens=4, vocab_size=4, batch_size=3)
    batch = task.load(seed=0).train_batch(0)
    assert np.array_equal(batch.inputs[:, :4], batch.targets[:, 4:])


def test_selective_copying_baseline_is_a_uniform_guess():
    data = SelectiveCopying(length=20, evaluation_size=4000).load(seed=0)
    asked = np.concatenate([batch.targets[:, -16:] for batch in data.eval_sets["test"]()])
    guess = np.random.default_rng(0).integers(1, 15, asked.shape)
    assert data.baselines()["uniform"] == 1 / 14
    assert abs((guess == asked).mean() - 1 / 14) < 0.005


def test_selective_copying_defaults_are_the_published_sizes():
    batch = SelectiveCopying(batch_size=2).load(seed=0).train_batch(0)
    assert batch.inputs.shape == (2, 4112)
    assert (batch.targets != IGNORE_INDEX).sum() == 32


def test_copy_memory_targets_repeat_after_the_delay():
    task = CopyMemory(delay=7, tokens=3, symbols=5, batch_size=100)
    batch = task.load(seed=0).train_batch(0)
    for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        held = inputs[:3]
        assert set(held) <= set(range(1, 6))
        assert inputs == held + [0] * 6 + [6] * 4
        assert targets == [0] * 10 + held
        assert len(targets) == 13
        # The first answer comes `delay` steps after the last symbol's step has passed.
        assert targets.index(held[0], 3) == 3 + 7


@pytest.mark.parametrize(("delay", "floor"), [(500, 0.03999), (1000, 0.02039), (2000, 0.01029)])
def test_memoryless_baseline_equals_published_value(delay, floor):
    assert round(CopyMemory(delay=delay).load(seed=0).baselines()["memoryless"], 5) == floor


def test_memoryless_baseline_is_the_best_memoryless_predictor():
    task = CopyMemory(delay=20, evaluation_size=3000)
    data = task.load(seed=0)
    targets = np.concatenate([b.targets[b.mask.any(1)] for b in data.eval_sets["test"]()])
    nll = 0.0
    for step in targets.T:  # knows the step, and how often each class is asked for there
        shares = [count / len(step) for count in Counter(step.tolist()).values()]
        nll -= sum(share * math.log(share) for share in shares)
    assert abs(nll / targets.shape[1] / data.baselines()["memoryless"] - 1) < 1e-3
