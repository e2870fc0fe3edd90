"""One time step of the recurrence: the few lines that every backend and every `step` share."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

CoefficientFn = Callable[..., tuple[Array, Array]]
"""Pointwise map `(*preactivations, *params) -> (a, b)` to the coefficients of the recurrence."""


class GatedOperands(NamedTuple):
    """Arrays of a gated scan, or the cotangents of each.

    Attributes:
      preactivations: arrays (*batch, time, features).
      params: learned operands of the coefficients, constant in time, (*batch, features).
      h0: state before the first step, (*batch, features).
      reset_state: state that a reset restores, (*batch, features).
      reset, mask: flags, (*batch, time, 1), or None. They have no cotangents.
    """

    preactivations: tuple[Array, ...]
    params: tuple[Array, ...]
    h0: Array
    reset_state: Array
    reset: Array | None = None
    mask: Array | None = None


def carry_term(a: Array, h: Array, reset: Array | None) -> Array:
    """Returns what the state `h` before a step adds to the state after it: `a * h`, 0 at a reset.

    Selected with `where`; multiplying by 0 would keep NaN. Both factors are selected, because the
    derivative of a selected product would multiply 0 by NaN.
    """
    if reset is None:
        return a * h
    return jnp.where(reset, 0, a) * jnp.where(reset, 0, h)


def as_residual(x: Any) -> Any:
    """Returns arrays times 1, to be kept for a backward pass. XLA removes the product.

    JAX 0.10 mixes up the residuals of a `custom_vjp` that are its arguments, where it is
    differentiated twice within `jax.lax.scan`. A product is not one of the arguments.
    """
    return jax.tree.map(lambda x: x * 1 if jnp.issubdtype(x.dtype, jnp.inexact) else x, x)


def flagged_coefficients(
    coefficients: CoefficientFn,
    preactivations: Sequence[Array],
    params: Sequence[Array],
    reset_state: Array,
    reset: Array | None,
    mask: Array | None,
) -> tuple[Array, Array]:
    """Returns (a, b) of `h = b + carry_term(a, h, reset)`, with both flags applied.

    All operands have one rank and broadcast to the shape of the pre-activations, which is that of
    the results. Arithmetic and results have the dtype of `reset_state`. A masked step keeps the
    state: a = 1, b = 0. A reset replaces the state by `reset_state` before the step, which for a
    linear step is `b + a * reset_state` without a carry term.
    """
    dtype, shape = reset_state.dtype, preactivations[-1].shape
    if mask is not None:
        preactivations = [jnp.where(mask, x, 0) for x in preactivations]
    a, b = (
        jnp.broadcast_to(jnp.asarray(x, dtype), shape)
        for x in coefficients(*(x.astype(dtype) for x in preactivations), *params)
    )
    if mask is not None:
        a, b = jnp.where(mask, a, 1), jnp.where(mask, b, 0)
    if reset is not None:
        b = jnp.where(reset, b + a * reset_state, b)
    return a, b
