"""Statistics of held-out data, against sums written out, and their power to find other data."""

import numpy as np
import pytest

from rnnlab.bundle.reference import (
    LEVELS,
    Reference,
    make_reference,
    population_stability,
    window_lengths,
)
from rnnlab.bundle.values import dump, load_dataclass
from rnnlab.tasks.batch import IGNORE_INDEX, Batch

RNG = np.random.default_rng(0)


def token_batches(count=30, time=100):
    """Batches of a Markov chain of 5 tokens, and the outputs that know its transitions."""
    transitions = np.log(RNG.dirichlet(np.full(5, 0.3), 5))
    batches = []
    for _ in range(count):
        ids = [0]
        while len(ids) <= time:
            ids.append(RNG.choice(5, p=np.exp(transitions[ids[-1]])))
        ids = np.array(ids, np.int32)
        batches.append(Batch(ids[None, :-1], ids[None, 1:], np.ones((1, time), bool)))
    return batches, lambda batch: transitions[batch.inputs]


def test_surprise_of_windows_is_the_mean_of_the_nats():
    batches, outputs = token_batches()
    found = make_reference("test", batches, outputs, 5)
    nats = -np.concatenate(
        [
            np.take_along_axis(outputs(batch)[0], batch.targets[0][:, None], 1)[:, 0]
            for batch in batches
        ]
    )
    assert (found.steps, found.longest, found.levels) == (3000, 100, LEVELS)
    shares = np.bincount(np.concatenate([batch.inputs[0] for batch in batches]), minlength=5) / 3000
    np.testing.assert_allclose(found.token_shares, shares)
    for window in found.windows:
        means = nats[: window.count * window.steps].reshape(window.count, -1).mean(axis=1)
        np.testing.assert_allclose(window.surprise.quantiles, np.quantile(means, LEVELS))
        assert window.surprise.mean == pytest.approx(means.mean())
        assert window.surprise.deviation == pytest.approx(means.std())
        assert window.stability.quantiles[0] >= 0
    assert [window.steps for window in found.windows] == [15, 45, 150]


def test_surprise_finds_other_text_that_token_shares_do_not():
    batches, outputs = token_batches()
    found = make_reference("test", batches, outputs, 5)
    window = found.windows[-1]
    shuffled = RNG.permutation(np.concatenate([batch.inputs[0] for batch in batches]))[:151]
    other = Batch(shuffled[None, :-1], shuffled[None, 1:])
    nats = -np.take_along_axis(outputs(other)[0], other.targets[0][:, None], 1)
    assert nats.mean() > window.surprise.quantiles[-1]
    counts = np.bincount(shuffled[:-1], minlength=5)
    assert population_stability(counts, found.token_shares) < window.stability.quantiles[-1]
    assert (
        population_stability(np.array([0, 0, 0, 0, 150]), found.token_shares)
        > (window.stability.quantiles[-1])
    )


def test_values_have_ranges_and_means_without_padding():
    inputs = RNG.normal(2, 3, (8, 50, 2)).astype(np.float32)
    mask = np.arange(50) < RNG.integers(20, 50, 8)[:, None]
    inputs[~mask] = 1e9
    gaps = np.where(mask, 0.5, 99).astype(np.float32)
    targets = np.full((8, 50), IGNORE_INDEX)
    found = make_reference("test", [Batch(inputs, targets, mask, gaps=gaps)], None, None)
    kept = inputs[mask].astype(np.float64)
    assert (found.token_shares, found.longest_gap) == ((), 0.5)
    assert found.longest == mask.sum(axis=1).max()
    for k, feature in enumerate(found.features):
        assert (feature.minimum, feature.maximum) == (kept[:, k].min(), kept[:, k].max())
        assert feature.mean == pytest.approx(kept[:, k].mean())
        np.testing.assert_allclose(feature.quantiles, np.quantile(kept[:, k], LEVELS))
    shortest = found.windows[0]
    means = kept[: shortest.count * shortest.steps].reshape(shortest.count, -1, 2).mean(axis=1)
    for k, distribution in enumerate(shortest.feature_means):
        np.testing.assert_allclose(distribution.quantiles, np.quantile(means[:, k], LEVELS))
    assert shortest.surprise is shortest.stability is None
    assert load_dataclass(Reference, dump(found), "reference") == found


def test_window_lengths_leave_enough_windows():
    for steps in (1, 19, 100, 12_345, 10**6):
        lengths = window_lengths(steps)
        assert len(lengths) == 3
        assert steps // max(lengths) >= min(20, steps)


def test_set_without_time_steps_is_refused():
    with pytest.raises(ValueError, match="the set 'test' must have a time step, got none"):
        make_reference("test", [], None, None)
