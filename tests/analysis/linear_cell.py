"""A cell with known derivatives: the linear RNN `h[t] = A h[t-1] + B x[t]`."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax


class LinearRNN(nnx.Module):
    """The contract's calls, without flags."""

    def __init__(self, matrix: np.ndarray, in_features: int | None = None):
        self.features = len(matrix)
        self.in_features = in_features or self.features
        self.matrix = nnx.Param(jnp.asarray(matrix, jnp.float32))
        self.dtype = jnp.dtype(jnp.float32)

    def initial_carry(self, batch_shape):
        return jnp.zeros((*batch_shape, self.features))

    def step(self, carry, x, *, reset=None, mask=None):
        h = carry @ self.matrix[...].T + x
        return h, h

    def __call__(self, carry, xs, *, reset=None, mask=None):
        carry, ys = lax.scan(self.step, carry, jnp.moveaxis(xs, -2, 0))
        return carry, jnp.moveaxis(ys, 0, -2)


def rotation(radius: float, angle: float = 0.3) -> np.ndarray:
    """A matrix that turns a plane and scales it: both eigenvalues have magnitude `radius`."""
    c, s = np.cos(angle), np.sin(angle)
    return radius * np.array([[c, -s], [s, c]])


def inputs(*shape: int) -> Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
