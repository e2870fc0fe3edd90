import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.analysis import participation_ratio, principal_components, top_activating_steps


def test_principal_components_equal_the_known_directions(getkey):
    """Independent coordinates of known spread, turned by an orthogonal matrix."""
    sizes = jnp.array([5.0, 2.0, 1.0])
    drawn = jax.random.normal(getkey(), (4, 5000, 3))
    drawn = drawn - drawn.mean((0, 1), keepdims=True)
    # Exactly uncorrelated, so that the components are exactly the directions.
    left, _, right = jnp.linalg.svd(drawn.reshape(-1, 3), full_matrices=False)
    rows = (left @ right).reshape(drawn.shape) * sizes.reshape(1, 1, 3)
    turn, _ = jnp.linalg.qr(jax.random.normal(getkey(), (3, 3)))
    found = principal_components(rows @ turn.T + 7, 2)
    np.testing.assert_allclose(found.explained_variance_ratio, np.array([25, 4]) / 30, atol=1e-4)
    np.testing.assert_allclose(np.abs(found.directions @ turn), np.eye(2, 3), atol=1e-4)
    signs = jnp.sign(jnp.sum(found.directions * turn.T[:2], -1))
    np.testing.assert_allclose(found.projected, rows[..., :2] * signs.reshape(1, 1, 2), atol=1e-4)


@pytest.mark.parametrize("dimension", [1, 3, 8])
def test_participation_ratio_of_k_equal_directions_is_k(dimension, getkey):
    turn, _ = jnp.linalg.qr(jax.random.normal(getkey(), (8, 8)))
    corners = jnp.concatenate([jnp.eye(dimension, 8), -jnp.eye(dimension, 8)])
    found = participation_ratio(jnp.tile(corners @ turn, (5, 1)) + 3)
    np.testing.assert_allclose(found, dimension, rtol=1e-4)


def test_top_activating_steps_in_a_batch_are_sorted(getkey):
    h = jax.random.normal(getkey(), (3, 20, 4))
    rows, steps = top_activating_steps(h, 2, 60)
    values = h[rows, steps, 2]
    np.testing.assert_array_equal(values, np.sort(np.asarray(h[..., 2]).ravel())[::-1])


def test_states_invalid_count_or_unit_is_an_error():
    with pytest.raises(ValueError, match="count must be <= 2"):
        principal_components(jnp.ones((9, 2)), 3)
    with pytest.raises(ValueError, match="unit must be in 0 to 1, got 2"):
        top_activating_steps(jnp.ones((9, 2)), 2)
