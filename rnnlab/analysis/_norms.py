"""Lengths of vectors that float32 could not square."""

import jax.numpy as jnp
from jax import Array


def length(x: Array) -> Array:
    """The Euclidean norm over the last axis, exact for numbers near float32's limits.

    >>> import jax.numpy as jnp
    >>> [f"{float(length(jnp.array([3 * s, 4 * s]))):.0e}" for s in (1e-30, 1.0, 1e30)]
    ['5e-30', '5e+00', '5e+30']
    """
    largest = jnp.abs(x).max(-1, keepdims=True, initial=0)
    # Divided by a power of two, in two steps, so that neither factor leaves the normal numbers.
    _, power = jnp.frexp(jnp.where(jnp.isfinite(largest), largest, 1))
    half = power // 2
    scaled = jnp.ldexp(jnp.ldexp(x, -half), half - power)
    norm = jnp.sqrt(jnp.sum(scaled * scaled, -1, keepdims=True))
    norm = jnp.ldexp(jnp.ldexp(norm, half), power - half)
    return jnp.where(jnp.isfinite(largest), norm, largest)[..., 0]
