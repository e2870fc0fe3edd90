"""Trees of arrays as they are stored: host arrays by path, and back."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def flatten(tree: Any) -> dict[str, Any]:
    """Returns arrays by the leaves' paths; typed random keys become their integers.

    They are host arrays, except those of which this process has only a part, or which it shares
    with other processes.
    """
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): _as_array(x)
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


def as_leaf(x: Any, leaf: Any) -> Any:
    """Returns a stored array as a typed key, a host array or a device array, as `leaf` is.

    A leaf on several devices gives the sharding, whatever the one of the stored array.
    """
    if isinstance(leaf, np.ndarray):
        return x
    data = jax.random.key_data(leaf) if _is_key(leaf) else leaf
    if not isinstance(x, jax.Array):
        is_spread = len(data.sharding.device_set) > 1
        x = jax.device_put(x, data.sharding) if is_spread else jnp.asarray(x)
    return jax.random.wrap_key_data(x) if _is_key(leaf) else x


def abstract(x: Any) -> Any:
    """Returns what Orbax restores an array as: a host array, or a shape with a sharding."""
    if isinstance(x, np.ndarray):
        return x
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)


def _as_array(x: Any) -> Any:
    x = jax.random.key_data(x) if _is_key(x) else x
    is_shared = isinstance(x, jax.Array) and not x.is_fully_addressable
    return x if is_shared else np.asarray(x)


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
