"""Alignments of hidden Markov models against all paths, and what training finds."""

import itertools

import numpy as np
import pytest

from rnnlab.tasks.reference.hidden_markov import GaussianStates, StatePath, align, train

STATES = GaussianStates(np.array([[0.0], [2.0], [-3.0]]), np.array([[1.0], [0.5], [2.0]]))


def all_alignments(path, length):
    """Every sequence of places that a path allows."""
    last = len(path.states) - 1
    for places in itertools.product(range(last + 1), repeat=length):
        steps = [(-1, places[0]), *itertools.pairwise(places), (places[-1], last + 1)]
        allowed = {0: lambda _: True, 1: lambda _: True, 2: lambda a: path.optional[a + 1]}
        inner = steps[1:-1]
        ends = [(a, b) for a, b in (steps[0], steps[-1])]
        if all(b - a in allowed and allowed[b - a](a) for a, b in inner) and all(
            b - a == 1 or (b - a == 2 and path.optional[a + 1]) for a, b in ends
        ):
            yield places


@pytest.mark.parametrize(
    ("numbers", "optional"),
    [((0, 1, 2), (0, 0, 0)), ((2, 0, 2, 1, 2), (1, 0, 1, 0, 1)), ((1,), (0,)), ((0, 2), (0, 1))],
)
def test_alignment_is_the_best_of_all_paths(numbers, optional):
    path = StatePath(np.array(numbers), np.array(optional, bool))
    rng = np.random.default_rng(len(numbers))
    sequences = [rng.normal(size=(length, 1)) * 3 for length in (5, 6, 1)]
    places, scores = align(STATES, sequences, [path] * 3)
    for xs, found, score in zip(sequences, places, scores, strict=True):
        density = -0.5 * (np.log(2 * np.pi * STATES.variances.T))
        density = density - 0.5 * np.square(xs - STATES.means.T) / STATES.variances.T
        totals = {
            p: sum(density[t, path.states[k]] for t, k in enumerate(p))
            for p in all_alignments(path, len(xs))
        }
        if not totals:
            assert len(found) == 0
            assert score == -np.inf
            continue
        best = max(totals, key=totals.get)
        assert tuple(found) == best
        np.testing.assert_allclose(score, totals[best], atol=1e-12)


def test_training_finds_the_states_that_made_the_frames():
    rng = np.random.default_rng(0)
    path = StatePath(np.array([2, 0, 1]), np.array([True, False, False]))
    sequences, truth = [], []
    for k in range(60):
        places = np.repeat([0, 1, 2], [4 * (k % 2), 3 + k % 5, 2 + k % 7])
        means = STATES.means[path.states[places]]
        sequences.append(means + 0.3 * rng.normal(size=(len(places), 1)))
        truth.append(places)
    states = train(sequences, [path] * 60, 3)
    np.testing.assert_allclose(states.means, STATES.means, atol=0.1)
    places, _ = align(states, sequences, [path] * 60)
    assert np.mean(np.concatenate(places) == np.concatenate(truth)) > 0.99
