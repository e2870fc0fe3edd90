"""What the analyses that go step by step need to know of a cell or model and of its inputs."""

from typing import Any

import jax
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


def typed(model: nnx.Module, carry: Any, xs: Array) -> Any:
    """The carry in the dtypes of the initial one, as a step hands it on."""
    batch = xs.shape[: batch_axes(model, xs)]
    like = jax.eval_shape(lambda: model.initial_carry(batch))
    return jax.tree.map(lambda c, want: jnp.asarray(c, want.dtype), carry, like)


def check_steps(xs: Array, axes: int) -> None:
    """Raises ValueError where there is no step to look at."""
    if xs.shape[axes] < 1:
        raise ValueError("xs has 0 steps; at least 1 is needed")
