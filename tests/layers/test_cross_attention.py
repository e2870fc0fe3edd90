"""Attention over a source: against a float64 form in NumPy, its masks and its streaming form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.layers import CrossAttention, CrossAttentionBlock

RNG = np.random.default_rng(0)
XS = jnp.float32(RNG.normal(size=(3, 5, 6)))
SOURCE = jnp.float32(RNG.normal(size=(3, 7, 4)))
LENGTHS = np.array([7, 3, 0])
MASK = jnp.asarray(np.arange(7) < LENGTHS[:, None])


def attend(layer, xs, source, lengths):
    """Returns outputs and weights (batch, heads, time, positions) by loops in float64."""
    query, kernel = (
        np.asarray(k[...], np.float64) for k in (layer.query_kernel, layer.source_kernel)
    )
    d = layer.features // layer.heads
    ys = np.zeros((*xs.shape[:2], layer.features))
    weights = np.zeros((len(xs), layer.heads, xs.shape[1], source.shape[1]))
    for n, length in enumerate(lengths):
        k, v = np.split(source[n, :length] @ kernel, 2, axis=-1)
        for h in range(layer.heads):
            part = slice(h * d, (h + 1) * d)
            for t in range(xs.shape[1]):
                if not length:
                    continue
                scores = k[:, part] @ (xs[n, t] @ query)[part] / np.sqrt(d)
                w = np.exp(scores - scores.max())
                weights[n, h, t, :length] = w / w.sum()
                ys[n, t, part] = weights[n, h, t, :length] @ v[:, part]
    return ys, weights


@pytest.fixture(scope="module")
def layer():
    return CrossAttention(6, 8, 4, rngs=nnx.Rngs(1), heads=2)


@pytest.fixture(scope="module")
def outputs(layer):
    """Memory and outputs where padding of the source is NaN."""
    source = jnp.where(MASK[..., None], SOURCE, jnp.nan)
    memory = layer.read(source, MASK)
    return memory, layer(memory, XS)[1]


def test_cross_attention_equals_a_float64_loop(layer, outputs):
    memory, ys = outputs
    wanted, weights = attend(layer, XS, SOURCE, LENGTHS)
    np.testing.assert_allclose(ys, wanted, atol=2e-6)
    np.testing.assert_allclose(layer.weights(memory, XS), weights, atol=2e-6)


def test_cross_attention_step_equals_the_sequence(layer, outputs):
    memory, ys = outputs
    for t in range(XS.shape[1]):
        after, y = layer.step(memory, XS[:, t])
        np.testing.assert_allclose(y, ys[:, t], atol=1e-6)
    assert after is memory


def test_cross_attention_shares_one_memory_between_hypotheses(layer, outputs):
    memory, ys = outputs
    shared = jax.tree.map(lambda x: jnp.expand_dims(x, 1), memory)
    xs = jnp.stack([XS, XS[:, ::-1]], 1)
    found = layer(shared, xs)[1]
    np.testing.assert_allclose(found[:, 0], ys, atol=1e-6)
    np.testing.assert_allclose(found[:, 1], ys[:, ::-1], atol=1e-6)


def test_gradient_of_a_source_with_padding_is_finite(layer):
    def loss(source):
        memory = layer.read(source, MASK)
        return jnp.sum(jnp.square(layer(memory, XS)[1]))

    gradient = np.asarray(jax.grad(loss)(SOURCE))
    assert np.isfinite(gradient).all()
    assert (gradient[MASK] != 0).any(-1).all()
    assert not gradient[~MASK].any()


def test_memory_without_positions_gives_zero(layer):
    ys = layer(layer.initial_carry(3), XS)[1]
    assert not np.asarray(ys).any()


def test_cross_attention_refuses_what_does_not_fit(layer, outputs):
    memory, _ = outputs
    with pytest.raises(ValueError, match="multiple of heads, 3, got 8"):
        CrossAttention(6, 8, 4, rngs=nnx.Rngs(0), heads=3)
    with pytest.raises(ValueError, match="source_features 4, got"):
        layer.read(jnp.zeros((2, 5)))
    with pytest.raises(ValueError, match=r"batch shape \(2,\) and 8 features"):
        layer(memory, jnp.zeros((2, 5, 6)))


def test_cross_attention_block_in_bfloat16_keeps_its_memory_in_float32():
    block = CrossAttentionBlock(8, 4, rngs=nnx.Rngs(0), heads=2, dtype=jnp.bfloat16)
    memory = block.read(SOURCE, MASK)
    ys = block(memory, jnp.ones((3, 5, 8)))[1]
    assert (memory.keys.dtype, ys.dtype) == (jnp.float32, jnp.bfloat16)
    y = block.step(memory, jnp.ones((3, 8)))[1]
    np.testing.assert_allclose(np.float32(y), np.float32(ys[:, 0]), atol=0.05)
