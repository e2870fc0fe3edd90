"""Trees of arrays as they are stored: host arrays by path, and back."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Returns host arrays by the leaves' paths; typed random keys become their integers."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(
            jax.random.key_data(x) if _is_key(x) else x
        )
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


def as_leaf(x: np.ndarray, leaf: Any) -> Any:
    """Returns a stored array as a typed key, a host array or a device array, as `leaf` is."""
    if isinstance(leaf, np.ndarray):
        return x
    return jax.random.wrap_key_data(jnp.asarray(x)) if _is_key(leaf) else jnp.asarray(x)


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
