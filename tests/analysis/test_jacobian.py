import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.flatten_util import ravel_pytree
from linear_cell import LinearRNN, inputs, rotation

from rnnlab import CELLS, GRU, LSTM, MinGRU
from rnnlab.analysis import (
    decays,
    jacobians,
    log_product_norms,
    lyapunov_exponents,
    spectral_radius,
    states,
)
from rnnlab.cells.linear import LinearCell


@pytest.mark.parametrize("radius", [0.9, 1.0, 1.1])
def test_jacobian_products_of_a_linear_rnn_change_by_its_radius(radius):
    cell = LinearRNN(rotation(radius))
    xs = inputs(3, 400, 2)
    found = jacobians(cell, cell.initial_carry((3,)), xs)
    np.testing.assert_allclose(found[1, 7], rotation(radius), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(spectral_radius(found), radius, rtol=1e-4)
    # The gradient of the last state with respect to that before step t has T - t factors.
    norms = log_product_norms(found)
    expected = np.arange(400, 0, -1) * np.log(radius)
    np.testing.assert_allclose(norms, np.broadcast_to(expected, (3, 400)), rtol=1e-4, atol=1e-3)
    rate = np.exp(lyapunov_exponents(cell, cell.initial_carry((3,)), xs, 2))
    np.testing.assert_allclose(rate, radius, rtol=1e-4)


def test_log_product_norms_of_a_non_normal_matrix_equal_numpy():
    matrix = np.array([[0.5, 10.0], [0.0, 0.9]])
    cell = LinearRNN(matrix)
    found = log_product_norms(jacobians(cell, cell.initial_carry(()), inputs(30, 2)))
    expected = [
        np.log(np.linalg.norm(np.linalg.matrix_power(matrix, 30 - t), 2)) for t in range(30)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_lyapunov_exponents_of_a_linear_rnn_are_log_eigenvalues():
    matrix = np.diag([0.3, 0.95, 0.7])
    cell = LinearRNN(matrix)
    found = lyapunov_exponents(cell, cell.initial_carry((2,)), inputs(2, 4000, 3), 3)
    np.testing.assert_allclose(found, np.log([[0.95, 0.7, 0.3]] * 2), atol=1e-3)


@pytest.mark.parametrize("name", CELLS)
def test_jacobians_equal_those_of_the_sequence_call(name, getkey):
    cell = CELLS[name](3, 4, rngs=nnx.Rngs(0))
    xs = jax.random.normal(getkey(), (5, 3))
    carry = jax.tree.map(lambda c: c + 0.1, cell.initial_carry(()))
    found = jacobians(cell, carry, xs)
    product = np.linalg.multi_dot([np.asarray(j) for j in found[::-1]])
    flat, unravel = ravel_pytree(carry)
    expected = jax.jacrev(lambda flat: ravel_pytree(cell(unravel(flat), xs)[0])[0])(flat)
    np.testing.assert_allclose(product, expected, rtol=1e-4, atol=1e-6)


def test_lyapunov_exponents_of_a_minimal_cell_are_its_mean_log_decays(getkey):
    cell = MinGRU(3, 4, rngs=nnx.Rngs(0), decay_range=(-1, 1))
    xs = jax.random.normal(getkey(), (2, 60, 3))
    carry = cell.initial_carry((2,))
    a = decays(cell, carry, xs)
    diagonal = jnp.diagonal(jacobians(cell, carry, xs), axis1=-2, axis2=-1)
    np.testing.assert_allclose(a, diagonal, rtol=1e-5, atol=1e-6)
    found = lyapunov_exponents(cell, carry, xs, 4)
    expected = np.sort(np.log(np.abs(a)).mean(1))[:, ::-1]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_states_equal_the_carries_of_every_prefix(getkey):
    cell = LSTM(3, 4, rngs=nnx.Rngs(0))
    xs = jax.random.normal(getkey(), (2, 5, 3))
    reset = jnp.zeros((2, 5), bool).at[0, 2].set(True)
    mask = jnp.ones((2, 5), bool).at[1, 3:].set(False)
    carry = cell.initial_carry((2,))
    found = states(cell, carry, xs, reset=reset, mask=mask)
    for t in (0, 2, 4):
        part = slice(0, t + 1)
        expected = cell(carry, xs[:, part], reset=reset[:, part], mask=mask[:, part])[0]
        np.testing.assert_allclose(found.c[:, t], expected.c, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.h[:, t], expected.h, rtol=1e-5, atol=1e-6)


def test_lyapunov_exponents_beyond_the_state_size_is_an_error():
    cell = GRU(3, 4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="count must be <= 4"):
        lyapunov_exponents(cell, cell.initial_carry(()), jnp.ones((9, 3)), 5)


class Leaky(LinearCell):
    """A user's linear cell: a learned decay per feature, and an output other than the state."""

    def __init__(self, in_features, features, *, rngs):
        super().__init__(in_features, features, rngs=rngs)
        self.project = nnx.Linear(in_features, features, rngs=rngs)
        self.rate = nnx.Param(jnp.linspace(-1.0, 2.0, features))

    def preactivations(self, xs):
        return (self.project(xs),)

    def operands(self):
        return (self.rate[...],)

    @staticmethod
    def coefficients(x, rate):
        a = jax.nn.sigmoid(rate + 0.1 * x)
        return a, (1 - a) * x

    def readout(self, h, xs):
        return jnp.tanh(h)


def test_lyapunov_exponents_of_a_users_linear_cell_are_its_mean_log_decays(getkey):
    cell = Leaky(3, 4, rngs=nnx.Rngs(0))
    xs = jax.random.normal(getkey(), (30, 3))
    carry = cell.initial_carry(())
    found = lyapunov_exponents(cell, carry, xs, 4)
    diagonal = jnp.diagonal(jacobians(cell, carry, xs), axis1=-2, axis2=-1)
    np.testing.assert_allclose(decays(cell, carry, xs), diagonal, rtol=1e-5)
    np.testing.assert_allclose(found, -np.sort(-np.log(diagonal).mean(0)), rtol=1e-4)


def test_decays_of_a_nonlinear_cell_is_an_error():
    cell = GRU(3, 4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="one decay per feature, got GRU"):
        decays(cell, cell.initial_carry(()), jnp.ones((5, 3)))
