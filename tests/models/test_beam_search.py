"""Greedy and beam search over Markov chains: against loops, and against all sequences."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.models.decoding.beam_search import beam_search, greedy_search

BEGIN, END = 0, 1


def chains(examples, classes, seed=0, scale=1.5):
    """Returns logits (examples, classes, classes) of the next token of random Markov chains."""
    return np.random.default_rng(seed).normal(scale=scale, size=(examples, classes, classes))


@partial(jax.jit, static_argnames=("search", "max_length", "beam", "length_penalty"))
def decode(search, logits, **settings):
    """Returns what a search finds. The carry counts time steps, to see that it is gathered."""

    def step(carry, tokens):
        example = jnp.arange(len(logits))[:, None]
        return carry + tokens, logits[example, tokens]

    carry = jnp.zeros((len(logits), 1), jnp.int32)
    return search(step, carry, len(logits), begin=BEGIN, end=END, **settings)


def log_probabilities(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def score(logits, labels):
    """Returns the log probability of labels and an end."""
    path = [BEGIN, *labels, END]
    return sum(log_probabilities(logits)[a, b] for a, b in itertools.pairwise(path))


def all_sequences(classes, max_length):
    labels = [k for k in range(classes) if k != END]
    return [s for n in range(max_length + 1) for s in itertools.product(labels, repeat=n)]


def hypotheses(found, n):
    return [
        tuple(row[:length])
        for row, length in zip(found.labels[n].tolist(), found.lengths[n].tolist(), strict=True)
    ]


def greedy_loop(logits, max_length):
    labels, token = [], BEGIN
    while len(labels) < max_length:
        token = int(np.argmax(logits[token]))
        if token == END:
            break
        labels.append(token)
    return tuple(labels)


def test_greedy_search_equals_a_loop_and_scores_its_sequences():
    logits = chains(200, 6)
    found = decode(greedy_search, jnp.float32(logits), max_length=5)
    for n in range(200):
        (labels,) = hypotheses(found, n)
        assert labels == greedy_loop(logits[n], 5)
        assert found.labels[n, 0, len(labels) :].tolist() == [-1] * (5 - len(labels))
        assert float(found.scores[n, 0]) == pytest.approx(score(logits[n], labels), abs=1e-4)
    lengths = set(np.asarray(found.lengths).ravel().tolist())
    assert {0, 5} <= lengths, "early ends and cut sequences must occur"


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_beam_of_one_equals_greedy_search(length_penalty):
    logits = jnp.float32(chains(200, 6))
    greedy = decode(greedy_search, logits, max_length=5)
    found = decode(beam_search, logits, max_length=5, beam=1, length_penalty=length_penalty)
    assert (found.labels == greedy.labels).all()
    assert (found.lengths == greedy.lengths).all()
    np.testing.assert_allclose(found.scores, greedy.scores, atol=1e-5)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_beam_search_never_ranks_below_greedy_search(length_penalty):
    logits = jnp.float32(chains(200, 6))
    greedy = decode(greedy_search, logits, max_length=5)
    found = decode(beam_search, logits, max_length=5, beam=2, length_penalty=length_penalty)

    def rank(x):
        return np.asarray(x.scores[:, 0]) / (np.asarray(x.lengths[:, 0]) + 1.0) ** length_penalty

    gain = rank(found) - rank(greedy)
    assert gain.min() >= -1e-5
    assert gain.max() > 0.1, "a wider beam must find better sequences"


@pytest.mark.parametrize(("classes", "max_length"), [(3, 3), (4, 2)])
@pytest.mark.parametrize("length_penalty", [0.0, 0.7])
def test_full_beam_finds_the_best_of_all_sequences(classes, max_length, length_penalty):
    logits = chains(5, classes)
    beam = classes**max_length
    settings = {"max_length": max_length, "beam": beam, "length_penalty": length_penalty}
    found = decode(beam_search, jnp.float32(logits), **settings)
    every = all_sequences(classes, max_length)
    for n in range(5):
        labels = hypotheses(found, n)[: len(every)]
        assert sorted(labels) == sorted(every)
        scores = np.array([score(logits[n], s) for s in labels])
        np.testing.assert_allclose(found.scores[n, : len(every)], scores, atol=1e-4)
        ranks = scores / np.array([len(s) + 1 for s in labels]) ** length_penalty
        assert (np.diff(ranks) < 1e-4).all(), "the best hypothesis must be the first one"
        assert np.isneginf(found.scores[n, len(every) :]).all()


def test_beam_search_gathers_the_carry_of_each_hypothesis():
    # The next token depends on the sum of all tokens before, which only the carry has.
    table = jnp.float32(chains(1, 16, scale=3.0)[0])

    def step(carry, tokens):
        carry = (carry * 3 + tokens) % 16
        return carry, table[carry, :4]

    def log_probability(labels):
        total, state = 0.0, 0
        for a, b in itertools.pairwise([BEGIN, *labels, END]):
            state = (state * 3 + a) % 16
            total += float(jax.nn.log_softmax(table[state, :4])[b])
        return total

    settings = {"begin": BEGIN, "end": END, "max_length": 4, "beam": 3}
    found = beam_search(step, jnp.zeros((1, 1), jnp.int32), 1, **settings)
    scores = [log_probability(labels) for labels in hypotheses(found, 0)]
    np.testing.assert_allclose(found.scores[0], scores, atol=1e-4)


def test_search_ends_when_all_hypotheses_have_ended():
    calls = []

    def step(carry, tokens):
        jax.debug.callback(lambda: calls.append(0))
        return carry, jnp.broadcast_to(jnp.float32([-9.0, 9.0])[None, None], (*tokens.shape, 2))

    settings = {"begin": BEGIN, "end": END, "max_length": 50}
    greedy_search(step, (), 3, **settings)
    jax.effects_barrier()
    assert len(calls) == 1


def test_model_that_never_ends_is_cut():
    logits = np.zeros((2, 3, 3))
    logits[:, :, END] = -np.inf
    for search, options in ((greedy_search, {}), (beam_search, {"beam": 2})):
        found = decode(search, jnp.float32(logits), max_length=4, **options)
        assert np.isneginf(found.scores).all()
