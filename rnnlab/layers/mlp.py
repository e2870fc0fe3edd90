"""The MLP of residual blocks, and layers over any leading axes."""

import math
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jax import Array

from rnnlab.layers.norm import RMSNorm


def mlp(width: int, hidden: int, *, rngs: nnx.Rngs, **dtypes: Any) -> nnx.Sequential:
    """Returns a norm and an MLP with one hidden layer, GELU, as a residual branch.

    Args:
      width: width of input and output.
      hidden: width of the hidden layer.
      rngs: source of the parameters' keys.
      dtypes: dtype and param_dtype of the layers.
    """
    return nnx.Sequential(
        RMSNorm(width, rngs=rngs, **dtypes),
        nnx.Linear(width, hidden, rngs=rngs, **dtypes),
        jax.nn.gelu,
        nnx.Linear(hidden, width, rngs=rngs, **dtypes),
    )


def apply_flat(layer: Callable[[Array], Array], x: Array) -> Array:
    """Returns `layer(x)` with all leading axes merged into one, as in `rnnlab.recurrent.dense`."""
    y = layer(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]))
    return y.reshape(*x.shape[:-1], y.shape[-1])
