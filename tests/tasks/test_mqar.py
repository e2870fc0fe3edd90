"""Associative recall against a dictionary per example."""

from collections import Counter

import numpy as np
import pytest

from rnnlab.tasks.batch import IGNORE_INDEX
from rnnlab.tasks.mqar import MQAR


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize(
    ("vocab_size", "length", "pairs"), [(10, 8, 2), (10, 17, 4), (64, 40, 7), (9, 16, 3)]
)
def test_each_key_is_queried_once_for_its_value(vocab_size, length, pairs, noise):
    task = MQAR(vocab_size, length, pairs, noise=noise, batch_size=100)
    batch = task.load(seed=0).train_batch(0)
    half = vocab_size // 2
    for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        keys, values = inputs[: 2 * pairs : 2], inputs[1 : 2 * pairs : 2]
        assert set(keys) <= set(range(1, half))
        assert set(values) <= set(range(half, vocab_size))
        assert len(set(keys)) == len(set(values)) == pairs
        memory = dict(zip(keys, values, strict=True))
        queries = [step for step, target in enumerate(targets) if target != IGNORE_INDEX]
        assert all(step >= 2 * pairs and step % 2 == 0 for step in queries)
        assert sorted(inputs[step] for step in queries) == sorted(keys)
        assert all(targets[step] == memory[inputs[step]] for step in queries)
        if not noise:
            rest = set(range(2 * pairs, length)) - set(queries)
            assert all(inputs[step] == 0 for step in rest)


def test_noise_is_drawn_from_the_whole_vocabulary():
    batch = MQAR(8, 64, 1, batch_size=500).load(seed=0).train_batch(0)
    rest = batch.inputs[:, 2:][batch.targets[:, 2:] == IGNORE_INDEX]
    shares = np.bincount(rest, minlength=8) / rest.size
    assert np.abs(shares - 1 / 8).max() < 0.01


@pytest.mark.parametrize("power", [0.01, 0.5, 1.0])
def test_query_places_follow_the_power_law(power):
    batch = (
        MQAR(8, 18, 2, gap_exponent=power, noise=False, batch_size=20_000)
        .load(seed=0)
        .train_batch(0)
    )
    weights = [k ** (power - 1) for k in range(1, 8)]
    asked = Counter()
    for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        place = [step for step in range(4, 18) if targets[step] == inputs[1]]
        asked[(place[0] - 4) // 2] += 1  # of the first pair's key, which draws first
    for place, weight in enumerate(weights):
        assert abs(asked[place] / 20_000 - weight / sum(weights)) < 0.015


def test_mqar_baselines_are_chance():
    floors = MQAR(vocab_size=9, length=16, num_pairs=3).load(seed=0).baselines()
    assert floors == {"any value": 1 / 5, "any value of the sequence": 1 / 3}
