"""How near two results have to be."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Rounding of a few hundred dependent operations: some tens of units in the last place.
TOLERANCE = {
    jnp.dtype(jnp.float64): 1e-12,
    jnp.dtype(jnp.float32): 2e-6,
    jnp.dtype(jnp.float16): 4e-3,
    jnp.dtype(jnp.bfloat16): 3e-2,
}
"""Largest max|x - reference| / max|reference| that the suite accepts, by dtype."""


def assert_close(x: Any, reference: Any, what: str = "values") -> None:
    """Every leaf of `x` is as close to `reference`'s as the narrowest dtype in `x` asks.

    >>> assert_close(jnp.ones(3), jnp.ones(3) + 1e-6, "the sums")
    """
    leaves, wanted = jax.tree.leaves(x), jax.tree.leaves(reference)
    assert len(leaves) == len(wanted), f"{what}: {len(leaves)} leaves, {len(wanted)} wanted"
    limit = max(TOLERANCE[jnp.dtype(leaf.dtype)] for leaf in leaves)
    for leaf, want in zip(leaves, wanted, strict=True):
        assert leaf.shape == want.shape, f"{what}: shape {leaf.shape}, {want.shape} wanted"
        leaf, want = np.asarray(leaf, np.float64), np.asarray(want, np.float64)
        if want.size:
            scale = np.abs(want).max() or 1.0
            error = np.abs(leaf - want).max() / scale
            assert error <= limit, f"{what}: relative error {error:.2e}, {limit:.0e} allowed"
