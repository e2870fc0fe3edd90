"""The suite's one table of tolerances, by dtype, for relative errors max|x - ref| / max|ref|."""

import jax.numpy as jnp

# Rounding of a few hundred dependent operations: some tens of units in the last place.
TOLERANCE = {
    jnp.dtype(jnp.float64): 1e-12,
    jnp.dtype(jnp.float32): 2e-6,
    jnp.dtype(jnp.float16): 4e-3,
    jnp.dtype(jnp.bfloat16): 3e-2,
}


def tolerance(dtype):
    return TOLERANCE[jnp.dtype(dtype)]
