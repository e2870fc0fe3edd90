import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import GRU, LSTM, MinGRU, VanillaRNN
from rnnlab.analysis import gate_statistics, layers


def test_gate_statistics_of_constant_gates_are_exact(getkey):
    """Gates without kernels are sigmoids of their biases, at every step."""
    cell = MinGRU(3, 4, rngs=nnx.Rngs(0))
    cell.update_kernel[...] = jnp.zeros((3, 4))
    cell.update_bias[...] = jnp.array([6.0, 0.0, -1.0, -6.0])
    xs = jax.random.normal(getkey(), (2, 7, 3))
    found = gate_statistics(cell, cell.initial_carry((2,)), xs)["decay"]
    np.testing.assert_allclose(found.mean, 1 / (1 + np.exp([6, 0, -1, -6])), rtol=1e-4)
    np.testing.assert_allclose(found.std, 0, atol=1e-6)
    assert found.saturated_low.tolist() == [1, 0, 0, 0]
    assert found.saturated_high.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(("cell", "names"), [(GRU, "rz"), (LSTM, "fio"), (VanillaRNN, "")])
def test_gate_statistics_equal_numpy_without_padding(cell, names, getkey):
    model = cell(3, 4, rngs=nnx.Rngs(0))
    xs = jax.random.normal(getkey(), (2, 7, 3))
    mask = jnp.ones((2, 7), bool).at[1, 4:].set(False)
    carry = model.initial_carry((2,))
    found = gate_statistics(model, carry, jnp.where(mask[..., None], xs, jnp.nan), mask=mask)
    assert sorted(found) == list(names)
    values = model.gate_values(carry, xs)
    for name in names:
        real = np.concatenate([values[name][0], values[name][1, :4]])
        np.testing.assert_allclose(found[name].mean, real.mean(0), rtol=1e-4)
        np.testing.assert_allclose(found[name].std, real.std(0), rtol=1e-4)


def test_gate_statistics_without_gate_values_is_an_error():
    model = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="Linear has no gate_values"):
        gate_statistics(model, None, jnp.ones((2, 3)))


def test_layers_of_a_bare_cell_is_the_cell():
    cell = GRU(3, 4, rngs=nnx.Rngs(0))
    ((name, found, carry),) = layers(cell, cell.initial_carry(()))
    assert (name, found, carry.shape) == ("cell", cell, (4,))


@pytest.mark.parametrize("cell", [GRU, LSTM])
def test_gate_values_after_masked_steps_read_the_kept_state(cell, getkey):
    model = cell(3, 4, rngs=nnx.Rngs(0))
    xs = jax.random.normal(getkey(), (2, 6, 3))
    mask = jnp.array([[True, True, False, False, True, True]] * 2)
    reset = jnp.zeros((2, 6), bool).at[1, 3].set(True)  # within the gap: it counts
    carry = jax.tree.map(lambda c: c + 0.3, model.initial_carry((2,)))
    found = model.gate_values(carry, xs, mask=mask, reset=reset)
    real = xs[:, jnp.array([0, 1, 4, 5])]
    at = jnp.zeros((2, 4), bool).at[1, 2].set(True)
    expected = model.gate_values(carry, real, reset=at)
    for name, gate in found.items():
        np.testing.assert_allclose(gate[:, jnp.array([0, 1, 4, 5])], expected[name], rtol=1e-5)
