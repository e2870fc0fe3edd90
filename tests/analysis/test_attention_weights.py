import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import Attention, MinGRU, SequenceModel, Stack
from rnnlab.analysis import attention_weights
from rnnlab.layers import Block


@pytest.mark.parametrize("flagged", [False, True])
def test_attention_weights_reproduce_the_layers_output(flagged, getkey):
    layer = Attention(6, 8, rngs=nnx.Rngs(0), heads=2, window=4)
    xs = jax.random.normal(getkey(), (3, 9, 6))
    reset = mask = None
    if flagged:
        reset = jnp.zeros((3, 9), bool).at[0, 3].set(True)
        mask = jnp.ones((3, 9), bool).at[1, 5:].set(False)
    carry = layer.initial_carry((3,))
    before, _ = layer(carry, xs[:, :4])
    weights = layer.weights(before, xs, reset=reset, mask=mask)
    assert weights.shape == (3, 2, 9, 3 + 9)
    values = (xs @ layer.kernel[...])[..., 16:]
    values = jnp.concatenate([before.values, values], 1).reshape(3, 12, 2, 4)
    ys = jnp.einsum("bhts,bshd->bthd", weights, values).reshape(3, 9, 8)
    expected = layer(before, xs, reset=reset, mask=mask)[1]
    np.testing.assert_allclose(ys, expected, rtol=1e-4, atol=1e-5)
    seen = np.asarray(weights[0, 0] > 0)
    assert seen.sum(-1).tolist() == ([4, 4, 4, 1, 2, 3, 4, 4, 4] if flagged else [4] * 9)


def test_attention_weights_of_a_hybrid_include_every_attention_layer(getkey):
    rngs = nnx.Rngs(0)
    body = Stack(
        [Block(8, Attention, rngs=rngs), MinGRU(8, 8, rngs=rngs), Attention(8, 8, rngs=rngs)]
    )
    model = SequenceModel(body, 5, vocab_size=5, rngs=rngs)
    tokens = jax.random.randint(getkey(), (2, 7), 0, 5, jnp.int32)
    found = attention_weights(model, model.initial_carry((2,)), tokens)
    assert {name: w.shape for name, w in found.items()} == {
        "layer 1": (2, 4, 7, 7),
        "layer 3": (2, 4, 7, 7),
    }
    for weights in found.values():
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
        np.testing.assert_allclose(jnp.triu(weights, 1), 0)
