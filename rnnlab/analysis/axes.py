"""Where time is in what a cell or a model reads."""

import jax.numpy as jnp
from flax import nnx
from jax import Array


def batch_axes(model: nnx.Module, xs: Array) -> int:
    """The number of batch axes of `xs`: a model of tokens has no axis of features."""
    return xs.ndim - (1 if getattr(model, "vocab_size", None) is not None else 2)


def time_first(axes: int):
    """Brings the axis behind the batch axes to the front."""
    return lambda x: jnp.moveaxis(x, axes, 0)


def time_behind(axes: int):
    """The inverse of `time_first`."""
    return lambda x: jnp.moveaxis(x, 0, axes)
