"""The CTC loss against all alignments, and greedy decoding against a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from label_oracles import collapse, ctc_by_alignments, log_softmax

import rnnlab
from rnnlab.losses import ctc_best_path
from rnnlab.losses.label_sequences import left_align

RNG = np.random.default_rng(0)


def ctc_loss(*arrays):
    """The loss of NumPy arrays."""
    return jax.jit(rnnlab.ctc_loss)(*map(jnp.asarray, arrays))


@pytest.mark.parametrize("wide", [False, True])
def test_loss_equals_the_sum_over_all_alignments(wide):
    logits = RNG.normal(size=(5, 5, 3)).astype(np.float32)
    labels = np.array([[1, 2, 1], [2, 2, -1], [1, -1, -1], [-1, -1, -1], [2, 2, 2]])
    with jax.enable_x64(wide):
        inputs = jnp.asarray(logits, jnp.float64 if wide else jnp.float32)
        nats, feasible = ctc_loss(inputs, labels)
        assert nats.dtype == inputs.dtype
        assert feasible.all()
        for k, row in enumerate(labels):
            expected = ctc_by_alignments(log_softmax(logits[k]))[tuple(row[row > 0].tolist())]
            np.testing.assert_allclose(nats[k], -np.log(expected), rtol=1e-10 if wide else 1e-5)


def test_infeasible_examples_are_reported_and_get_no_gradient():
    logits = RNG.normal(size=(2, 2, 3, 4)).astype(np.float32)
    mask = np.array([[[True, True, True]] * 2, [[True, False, False]] * 2])
    logits[~mask] = np.nan
    labels = np.array([[[1, 1], [1, 2]], [[3, 2], [3, -1]]])

    def total(logits):
        nats, feasible = ctc_loss(logits, labels, mask)
        return nats.sum(), (nats, feasible)

    gradient, (nats, feasible) = jax.jit(jax.grad(total, has_aux=True))(jnp.asarray(logits))
    assert feasible.tolist() == [[True, True], [False, True]]
    assert nats[1, 0] == 0
    assert np.isfinite(nats).all()
    assert np.isfinite(gradient).all()
    touched = np.asarray(gradient).any((-1, -2))
    assert touched.tolist() == feasible.tolist()
    assert not np.asarray(gradient)[~mask].any()
    alone = log_softmax(logits[1, 1, 0])[3]
    np.testing.assert_allclose(nats[1, 1], -alone, rtol=1e-6)


def test_loss_accepts_bfloat16_and_empty_axes():
    logits = jnp.asarray(RNG.normal(size=(4, 3)), jnp.bfloat16)
    nats, feasible = ctc_loss(logits, np.array([1, 2]))
    exact = ctc_by_alignments(log_softmax(np.asarray(logits, np.float64)))[1, 2]
    np.testing.assert_allclose(nats, -np.log(exact), rtol=1e-5)
    nats, _ = ctc_loss(logits, np.zeros(0, np.int32))
    blanks = log_softmax(np.asarray(logits, np.float64))[:, 0].sum()
    np.testing.assert_allclose(nats, -blanks, rtol=1e-5)
    nats, feasible = ctc_loss(logits[:0], np.array([1, -1]))
    assert nats == 0
    assert not feasible


def test_best_path_equals_a_plain_collapse():
    logits = RNG.normal(size=(3, 12, 3))
    mask = np.arange(12) < np.array([[12], [7], [0]])
    found = np.asarray(ctc_best_path(jnp.asarray(logits), jnp.asarray(mask)))
    for row, x, m in zip(found, logits, mask, strict=True):
        expected = collapse(x[m].argmax(-1).tolist())
        assert tuple(row[: len(expected)]) == expected
        assert (row[len(expected) :] == -1).all()


def test_left_align_keeps_the_order_of_labels():
    found = left_align(jnp.array([[-1, 3, -1, 1], [2, -1, -1, -1]]))
    assert found.tolist() == [[3, 1, -1, -1], [2, -1, -1, -1]]
