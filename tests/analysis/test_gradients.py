import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from linear_cell import LinearRNN, inputs, rotation

from rnnlab import LSTM, Block, MinGRU, SequenceModel, Stack
from rnnlab.analysis import gradient_flow, state_gradients


def last(ys):
    return ys[..., -1, 0].sum()


def everything(ys):
    return jnp.sum(jnp.sin(ys))


@pytest.mark.parametrize("radius", [0.9, 1.0, 1.1])
def test_gradient_flow_of_a_linear_rnn_is_a_power_of_its_matrix(radius):
    cell = LinearRNN(rotation(radius))
    xs = inputs(2, 50, 2)
    found = state_gradients(cell, cell.initial_carry((2,)), xs, last)
    for t in (0, 10, 49):
        expected = np.linalg.matrix_power(rotation(radius), 50 - t)[0]
        np.testing.assert_allclose(found[1, t], expected, rtol=1e-4)
    flow = gradient_flow(cell, cell.initial_carry((2,)), xs, last)["cell"]
    rate = np.polyfit(np.arange(50), np.log(flow[0]), 1)[0]
    np.testing.assert_allclose(np.exp(-rate), radius, rtol=0.01)


def test_state_gradients_equal_gradients_of_the_remaining_sequence(getkey):
    """Entry t equals the gradient of the rest of the sequence with respect to its initial carry."""
    cell = LSTM(3, 4, rngs=nnx.Rngs(0))
    xs = jax.random.normal(getkey(), (2, 6, 3))
    reset = jnp.zeros((2, 6), bool).at[0, 4].set(True)
    carry = cell.initial_carry((2,))
    found = state_gradients(cell, carry, xs, everything, reset=reset)
    middle, _ = cell(carry, xs[:, :3], reset=reset[:, :3])
    expected = jax.grad(lambda c: everything(cell(c, xs[:, 3:], reset=reset[:, 3:])[1]))(middle)
    for name in ("c", "h"):
        np.testing.assert_allclose(
            getattr(found, name)[:, 3], getattr(expected, name), rtol=1e-4, atol=1e-6
        )
    assert not found.h[0, 4].any()  # the reset reads no state


@pytest.mark.usefixtures("quick_compile")
def test_gradient_flow_of_a_model_has_every_layer(getkey):
    rngs = nnx.Rngs(0)
    body = Stack([Block(8, MinGRU, rngs=rngs, conv_kernel_size=4), LSTM(8, 8, rngs=rngs)])
    model = SequenceModel(body, 5, vocab_size=5, rngs=rngs)
    tokens = jax.random.randint(getkey(), (2, 9), 0, 5, jnp.int32)
    mask = jnp.ones((2, 9), bool).at[1, 6:].set(False)
    carry = model.initial_carry((2,))
    found = state_gradients(model, carry, tokens, everything, mask=mask)
    middle, _ = model(carry, tokens[:, :4], mask=mask[:, :4])
    expected = jax.grad(lambda c: everything(model(c, tokens[:, 4:], mask=mask[:, 4:])[1]))(middle)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x[:, 4], y, rtol=1e-4, atol=1e-6), found, expected
    )
    flow = gradient_flow(model, carry, tokens, everything, mask=mask)
    assert {name: norms.shape for name, norms in flow.items()} == {
        "layer 1": (2, 9),
        "layer 2": (2, 9),
    }
    expected = jnp.linalg.norm(found.body[0].cell, axis=-1)
    np.testing.assert_allclose(flow["layer 1"], expected, rtol=1e-6)
    assert not flow["layer 2"][1, 6:].any()  # nothing comes from padding
