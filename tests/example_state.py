"""A tree with every kind of leaf, and the metadata of its checkpoints."""

import jax
import jax.numpy as jnp
import numpy as np

METADATA = {"config": {"train": {"steps": 8, "seed": 0}, "task": "Adding"}}


def tree(seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    return {
        "weights": jax.random.normal(keys[0], (3, 4)),
        "half": jax.random.normal(keys[1], (5,), jnp.bfloat16),
        "key": keys[2],
        "step": np.array(seed),
        "odd": np.array([np.nan, -0.0, 1e-45, np.inf], np.float32),
        "nothing": (),
    }


def same(one, other):
    """Whether two trees have the same bits."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    arrays = [tuple(map(_as_array, pair)) for pair in pairs]
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in arrays)


def _as_array(x):
    key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if key else x)
