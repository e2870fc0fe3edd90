"""Arguments of a call and their axes, for analyses that scan over time."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from rnnlab.call_validation import validate_gaps


def batch_axes(model: nnx.Module, xs: Array) -> int:
    """The number of batch axes of `xs`: a model of tokens has no axis of features."""
    return xs.ndim - (1 if getattr(model, "vocab_size", None) is not None else 2)


def call_options(
    model: nnx.Module,
    xs: Array,
    reset: Array | None = None,
    mask: Array | None = None,
    gaps: Array | None = None,
) -> dict[str, Array]:
    """The keyword arguments of a call of `model` that are given, arrays (*batch, time).

    Analyses pass on all of them, and to `step` those of one time step.

    Raises:
      ValueError: the model needs gaps and has none, does not use them, or a gap is negative, which
        a compiled program does not detect.
    """
    flags = {"reset": reset, "mask": mask}
    flags = {name: jnp.asarray(flag) for name, flag in flags.items() if flag is not None}
    shape = xs.shape[: batch_axes(model, xs) + 1]
    return flags | validate_gaps(model, gaps, shape, flags.get("mask"))


def time_first(axes: int):
    """A function that moves the time axis, which follows the batch axes, to the front."""
    return lambda x: jnp.moveaxis(x, axes, 0)


def time_last(axes: int):
    """A function that moves the time axis from the front to behind the batch axes."""
    return lambda x: jnp.moveaxis(x, 0, axes)


def cast_carry(model: nnx.Module, carry: Any, xs: Array) -> Any:
    """The carry in the dtypes of `initial_carry`, which a step returns."""
    batch = xs.shape[: batch_axes(model, xs)]
    like = jax.eval_shape(lambda: model.initial_carry(batch))
    return jax.tree.map(lambda c, want: jnp.asarray(c, want.dtype), carry, like)


def check_steps(xs: Array, axes: int) -> None:
    """Raises ValueError if there are no time steps."""
    if xs.shape[axes] < 1:
        raise ValueError("xs must have >= 1 time steps, got 0")
