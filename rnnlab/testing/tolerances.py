"""Tolerances between two results, by dtype."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Rounding of a few hundred dependent operations: some tens of units in the last place.
TOLERANCE = {
    jnp.dtype(jnp.float64): 1e-12,
    jnp.dtype(jnp.complex128): 1e-12,
    jnp.dtype(jnp.float32): 2e-6,
    jnp.dtype(jnp.complex64): 2e-6,
    jnp.dtype(jnp.float16): 4e-3,
    jnp.dtype(jnp.bfloat16): 3e-2,
}
"""Largest max|x - reference| / max|reference| that the suite accepts, by dtype."""


def assert_close(x: Any, reference: Any, what: str = "values") -> None:
    """Asserts that every leaf of `x` is close to that of `reference`.

    The tolerance is that of the narrowest dtype among the leaves of `x`.

    Raises:
      AssertionError: a leaf differs in shape or by more than the tolerance; `what` names them.

    >>> assert_close(jnp.ones(3), jnp.ones(3) + 1e-6, "the sums")
    """
    leaves, expected = jax.tree.leaves(x), jax.tree.leaves(reference)
    assert len(leaves) == len(expected), (
        f"{what} must have {len(expected)} leaves, got {len(leaves)}"
    )
    limit = max((TOLERANCE[jnp.dtype(leaf.dtype)] for leaf in leaves), default=0.0)
    for leaf, ref in zip(leaves, expected, strict=True):
        assert leaf.shape == ref.shape, f"{what} must have shape {ref.shape}, got {leaf.shape}"
        leaf, ref = _widen(leaf), _widen(ref)
        if ref.size:
            scale = np.abs(ref).max() or 1.0
            error = np.abs(leaf - ref).max() / scale
            assert error <= limit, (
                f"the relative error of {what} must be <= {limit:.0e}, got {error:.2e}"
            )


def _widen(x: Any) -> np.ndarray:
    """Returns `x` in float64 or complex128, so that differences are exact."""
    return np.asarray(x).astype(np.complex128 if np.iscomplexobj(x) else np.float64)
