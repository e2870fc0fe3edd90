"""Losses of sampled items against their sums in NumPy, and their negatives in a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.losses.ranking import bpr_max, top1_max
from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.train.losses import loss_function, loss_weight

RNG = np.random.default_rng(0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def bpr_max_sum(target, others):
    shares = np.exp(others) / np.exp(others).sum()
    return -np.log(np.sum(shares * sigmoid(target - others))) + 0.5 * np.sum(shares * others**2)


def top1_max_sum(target, others):
    shares = np.exp(others) / np.exp(others).sum()
    return np.sum(shares * (sigmoid(others - target) + sigmoid(others**2)))


CASES = {
    "bpr_max": (lambda *of: bpr_max(*of, score_penalty=0.5), bpr_max_sum, {"score_penalty": 0.5}),
    "top1_max": (top1_max, top1_max_sum, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_loss_equals_its_sum_over_the_items_that_count(name):
    loss, summed, _ = CASES[name]
    target, others = RNG.normal(size=3), 2 * RNG.normal(size=(3, 5))
    counts = RNG.random((3, 5)) < 0.6
    counts[:, 0] = True
    scores = jnp.asarray(target, jnp.float32), jnp.asarray(others, jnp.float32)
    found = loss(*scores, jnp.asarray(counts))
    wanted = [summed(a, b[c]) for a, b, c in zip(target, others, counts, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_loss_of_extreme_or_no_items_has_a_finite_gradient(name):
    loss = CASES[name][0]
    sizes = jnp.array([-1e4, 0.0, 1e4])[:, None]
    counts = jnp.array([[True, True], [False, False], [True, False]])
    counts = jnp.broadcast_to(counts, (3, 3, 2))
    scores = jnp.broadcast_to(-sizes, (3, 3)), jnp.broadcast_to(sizes[..., None], (3, 3, 2))

    def summed(a, b):
        values = loss(a, b, counts)
        return values.sum(), values

    # One program: without jit every operation is compiled on its own.
    gradient, value = jax.jit(jax.grad(summed, (0, 1), has_aux=True))(*scores)
    assert all(np.isfinite(x).all() for x in (value, *gradient))
    assert not value[:, 1].any()


@pytest.mark.parametrize("name", CASES)
def test_named_loss_is_the_mean_over_scored_steps_without_the_target_among_negatives(name):
    _, summed, options = CASES[name]
    outputs = RNG.normal(size=(2, 3, 6)).astype(np.float32)
    targets = np.array([[1, 4, IGNORE_INDEX], [0, 2, 5]], np.int32)
    mask = np.array([[True, True, True], [True, True, False]])
    negatives = np.array([[1, 2, 3, 3], [5, 0, 4, 4]], np.int32)
    batch = Batch(np.zeros((2, 3), np.int32), targets, mask, negatives=negatives)
    terms = []
    for r, t in np.argwhere(mask & (targets >= 0)):
        sample = negatives[r][negatives[r] != targets[r, t]]
        terms.append(summed(outputs[r, t, targets[r, t]], outputs[r, t, sample]))
    graded = jax.jit(jax.value_and_grad(loss_function(name, options)))
    value, gradient = graded(jnp.asarray(outputs), batch)
    assert float(value) == pytest.approx(np.mean(terms), rel=1e-5)
    assert float(loss_weight(name)(batch)) == len(terms)
    assert not np.asarray(gradient)[1, 2].any()
    assert not np.asarray(gradient)[0, 2].any()


def test_named_loss_without_negatives_is_refused():
    batch = Batch(np.zeros((1, 2), np.int32), np.zeros((1, 2), np.int32))
    with pytest.raises(ValueError, match="must have negatives"):
        loss_function("bpr_max")(np.zeros((1, 2, 3), np.float32), batch)
