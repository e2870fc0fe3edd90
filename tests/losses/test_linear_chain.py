"""The linear chain against a sum over all sequences of tags and against forward-backward."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.heads import LinearChain
from rnnlab.losses.linear_chain import (
    log_partition,
    marginals,
    negative_log_likelihood,
    viterbi,
)
from rnnlab.tasks.batch import Batch
from rnnlab.train.losses import loss_function, loss_weight

TAGS, LENGTH = 3, 5
FORBIDDEN = ((0, 2), (1, 0))


def all_sequences(scores, mask, reset):
    """Returns every sequence of tags of one row, with -1 in padding, and its score."""
    real = np.flatnonzero(mask)
    found = {}
    for tags in itertools.product(range(TAGS), repeat=len(real)):
        previous, total = 0, 0.0
        for t, tag in zip(real, tags, strict=True):
            total += scores[t, 0 if reset[t] else previous, tag]
            previous = tag
        row = np.full(LENGTH, -1)
        row[real] = tags
        found[tuple(row.tolist())] = total
    return found


@pytest.fixture(params=["free", "forbidden"])
def chains(request):
    rng = np.random.default_rng(0)
    scores = 2 * rng.normal(size=(4, LENGTH, TAGS, TAGS))
    if request.param == "forbidden":
        for p, q in FORBIDDEN:
            scores[..., p, q] = -np.inf
    mask = np.arange(LENGTH) < np.array([5, 3, 1, 0])[:, None]
    reset = np.zeros((4, LENGTH), bool)
    reset[0, 2] = reset[0, 3] = reset[1, 0] = True
    return scores, mask, reset


def test_chain_in_float64_equals_the_sum_over_all_sequences(chains):
    scores, mask, reset = chains
    with jax.enable_x64(True):
        flags = {"mask": jnp.asarray(mask), "reset": jnp.asarray(reset)}
        total = np.asarray(log_partition(jnp.asarray(scores), **flags))
        probability = np.asarray(marginals(jnp.asarray(scores), **flags))
    best = viterbi(scores, mask=mask, reset=reset)
    for row in range(len(scores)):
        found = all_sequences(scores[row], mask[row], reset[row])
        weights = {tags: np.exp(score) for tags, score in found.items()}
        z = sum(weights.values())
        np.testing.assert_allclose(total[row], np.log(z), rtol=1e-10, atol=1e-12)
        assert tuple(best[row].tolist()) == max(found, key=found.get)
        for t, q in itertools.product(range(LENGTH), range(TAGS)):
            share = sum(w for tags, w in weights.items() if tags[t] == q) / z
            np.testing.assert_allclose(probability[row, t, q], share, atol=1e-12)


def test_likelihood_of_unknown_tags_sums_over_them(chains):
    scores, mask, reset = chains
    tags = np.array([[0, 1, 1, -1, 1], [1, -1, 2, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    with jax.enable_x64(True):
        flags = {"mask": jnp.asarray(mask), "reset": jnp.asarray(reset)}
        nats = np.asarray(negative_log_likelihood(jnp.asarray(scores), jnp.asarray(tags), **flags))
    for row in range(len(scores)):
        found = all_sequences(scores[row], mask[row], reset[row])
        known = np.flatnonzero(mask[row] & (tags[row] >= 0))
        fits = [x for s, x in found.items() if all(s[t] == tags[row, t] for t in known)]
        expected = np.log(np.exp([*found.values()]).sum()) - np.log(np.exp(fits).sum())
        np.testing.assert_allclose(nats[row], expected, rtol=1e-10, atol=1e-12)


def test_gradient_in_float64_equals_finite_differences(chains):
    scores, mask, reset = chains
    tags = np.array([[0, 1, 1, 1, 2], [1, 1, 2, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    with jax.enable_x64(True):
        flags = {"mask": jnp.asarray(mask), "reset": jnp.asarray(reset)}

        @jax.jit
        def nats(x):
            return negative_log_likelihood(x, jnp.asarray(tags), **flags).sum()

        slope = np.asarray(jax.grad(nats)(jnp.asarray(scores)))
        assert np.isfinite(slope).all()
        for index in zip(*np.nonzero(np.isfinite(scores)), strict=True):
            step = np.zeros_like(scores)
            step[index] = 1e-6
            difference = (nats(scores + step) - nats(scores - step)) / 2e-6
            np.testing.assert_allclose(slope[index], difference, atol=1e-8)


def test_long_chain_in_float32_stays_near_float64_and_matrix_products():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(500, TAGS, TAGS))
    row, logs = np.eye(TAGS)[0], 0.0
    for weights in np.exp(scores):
        row = row @ weights
        logs, row = logs + np.log(row.sum()), row / row.sum()
    found = float(log_partition(jnp.asarray(scores, jnp.float32)))
    np.testing.assert_allclose(found, logs, rtol=1e-6)
    assert log_partition(jnp.zeros((2, 0, TAGS, TAGS))).tolist() == [0.0, 0.0]


def test_head_decodes_without_forbidden_pairs_and_its_loss_is_a_mean_over_tags():
    head = LinearChain(TAGS, FORBIDDEN)
    rng = np.random.default_rng(2)
    outputs = rng.normal(size=(2, LENGTH, TAGS**2)).astype(np.float32)
    mask = np.arange(LENGTH) < np.array([5, 3])[:, None]
    targets = np.where(mask, 1, -1)
    decoded = head.decode(outputs, mask)
    pairs = set(itertools.pairwise([0, *decoded[0].tolist()]))
    assert not pairs & set(FORBIDDEN)
    assert decoded[1].tolist()[3:] == [-1, -1]
    batch = Batch(outputs, targets, mask)
    nats = negative_log_likelihood(
        jnp.asarray(outputs).reshape(2, LENGTH, TAGS, TAGS), targets, mask=jnp.asarray(mask)
    )
    loss = loss_function(head)(jnp.asarray(outputs), batch)
    np.testing.assert_allclose(loss, nats.sum() / 8, rtol=1e-6)
    assert float(loss_weight(head)(batch)) == 8
    np.testing.assert_allclose(head.probabilities(outputs, mask).sum(-1), mask, atol=1e-5)
    constrained = LinearChain(TAGS, FORBIDDEN, constrained_training=True)
    assert float(loss_function(constrained)(jnp.asarray(outputs), batch)) < float(loss)
    with pytest.raises(ValueError, match=r"forbidden must be pairs of tags in \[0, 3\)"):
        LinearChain(TAGS, ((0, 3),))
