import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from linear_cell import LinearRNN, inputs, rotation

from rnnlab import MinGRU
from rnnlab.analysis import decay_horizon, input_sensitivity, memory_horizon


def constant_decay(a: float) -> MinGRU:
    """A minGRU whose decay is `a` whatever it reads, and whose candidate is linear."""
    cell = MinGRU(2, 3, rngs=nnx.Rngs(0), candidate="identity")
    cell.update_kernel[...] = jnp.zeros_like(cell.update_kernel[...])
    cell.update_bias[...] = jnp.full_like(cell.update_bias[...], np.log((1 - a) / a))
    return cell


def test_memory_horizon_of_a_known_decay_is_exact():
    cell = constant_decay(0.9)
    found = input_sensitivity(cell, cell.initial_carry((2,)), inputs(2, 100, 2))
    kernel = np.linalg.norm(cell.candidate_kernel[...], axis=0)
    expected = 0.1 * 0.9 ** np.arange(100)[:, None] * kernel
    np.testing.assert_allclose(found[1], expected, rtol=1e-4)
    for threshold, lag in ((0.5, 7), (0.1, 22), (0.05, 29)):
        assert memory_horizon(found, threshold).tolist() == [[lag] * 3] * 2
        exact = float(decay_horizon(jnp.array(0.9), threshold))
        np.testing.assert_allclose(exact, np.log(threshold) / np.log(0.9), rtol=1e-5)
        assert lag - 1 < exact <= lag


@pytest.mark.parametrize(("radius", "horizon"), [(0.9, 29), (1.0, 60), (1.1, 60)])
def test_memory_horizon_of_a_linear_rnn_follows_its_radius(radius, horizon):
    cell = LinearRNN(rotation(radius))
    found = input_sensitivity(cell, cell.initial_carry(()), inputs(60, 2))
    np.testing.assert_allclose(found[:, 0], radius ** np.arange(60), rtol=1e-4)
    assert memory_horizon(found).tolist() == [horizon] * 2


def test_memory_horizon_of_returning_sensitivity_is_the_last_lag():
    shape = jnp.zeros((10, 2)).at[jnp.array([0, 6]), 0].set(1.0)
    assert memory_horizon(shape).tolist() == [7, 0]


def test_memory_horizon_threshold_out_of_range_is_an_error():
    with pytest.raises(ValueError, match="threshold must be between 0 and 1"):
        memory_horizon(jnp.ones((3, 1)), 1.5)
