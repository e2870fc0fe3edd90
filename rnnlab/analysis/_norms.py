"""Norms of vectors whose squares leave the range of float32."""

import jax.numpy as jnp
from jax import Array


def l2_norm(x: Array) -> Array:
    """The Euclidean norm over the last axis of real or complex numbers.

    It is accurate also near the limits of float32.

    >>> import jax.numpy as jnp
    >>> [f"{float(l2_norm(jnp.array([3 * s, 4 * s]))):.0e}" for s in (1e-30, 1.0, 1e30)]
    ['5e-30', '5e+00', '5e+30']
    >>> l2_norm(jnp.array([3.0 + 4.0j]))
    Array(5., dtype=float32)
    """
    if jnp.iscomplexobj(x):
        x = jnp.concatenate([x.real, x.imag], -1)
    largest = jnp.abs(x).max(-1, keepdims=True, initial=0)
    # Scaled by a power of two in two steps, so that neither factor is subnormal or infinite.
    _, power = jnp.frexp(jnp.where(jnp.isfinite(largest), largest, 1))
    half = power // 2
    scaled = jnp.ldexp(jnp.ldexp(x, -half), half - power)
    norm = jnp.sqrt(jnp.sum(scaled * scaled, -1, keepdims=True))
    norm = jnp.ldexp(jnp.ldexp(norm, half), power - half)
    return jnp.where(jnp.isfinite(largest), norm, largest)[..., 0]
