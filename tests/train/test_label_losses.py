"""Losses of label sequences, read from batches: what counts, and the weight of the mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab import ctc_loss, transducer_loss
from rnnlab.tasks.batch import Batch
from rnnlab.train.losses import loss_function, loss_weight

RNG = np.random.default_rng(0)
LABELS = np.array([[2, 1, 1], [1, 1, 1], [3, -1, -1], [-1, -1, -1], [-1, -1, -1]], np.int32)
MASK = np.arange(5) < np.array([[5], [4], [3], [2], [0]])  # the second is too short for CTC
BATCH = jax.tree.map(
    jnp.asarray, Batch(np.zeros((5, 5, 2), np.float32), None, mask=MASK, labels=LABELS)
)


def test_ctc_is_the_mean_over_labels_of_feasible_examples():
    logits = jnp.asarray(RNG.normal(size=(5, 5, 4)), jnp.float32)
    value = jax.jit(loss_function("ctc"))(logits, BATCH)
    nats, feasible = jax.jit(ctc_loss)(logits, BATCH.labels, BATCH.mask)
    assert feasible.tolist() == [True, False, True, True, True]
    assert float(loss_weight("ctc")(BATCH)) == 4
    np.testing.assert_allclose(value, nats.sum() / 4, rtol=1e-6)


def test_transducer_is_the_mean_over_labels_of_examples_with_time_steps():
    nodes = jnp.log(jnp.asarray(RNG.uniform(0.1, 0.4, size=(5, 5, 4, 2)), jnp.float32))
    value = jax.jit(loss_function("transducer", {"fast_emit": 0.1}))(nodes, BATCH)
    lengths, counts = BATCH.mask.sum(-1), (BATCH.labels >= 0).sum(-1)
    nats = transducer_loss(nodes[..., 0], nodes[..., :-1, 1], lengths, counts)
    assert float(loss_weight("transducer")(BATCH)) == 7
    np.testing.assert_allclose(value, nats.sum() / 7, rtol=1e-6)


@pytest.mark.parametrize("loss", ["ctc", "transducer"])
def test_padding_gets_no_gradient(loss):
    shape = (5, 5, 4) if loss == "ctc" else (5, 5, 4, 2)
    outputs = -jnp.asarray(RNG.uniform(1, 2, size=shape), jnp.float32)
    padding = ~MASK.reshape(5, 5, *(1,) * (len(shape) - 2))
    gradient = np.asarray(
        jax.grad(loss_function(loss))(jnp.where(padding, jnp.nan, outputs), BATCH)
    )
    assert np.isfinite(gradient).all()
    assert gradient.any()
    assert not gradient[np.broadcast_to(padding, shape)].any()
