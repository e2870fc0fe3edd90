"""Classic cells one step after another, by `jax.lax.scan`, with a gradient that keeps matmuls few.

JAX's own gradient of the loop adds the recurrent kernel's cotangent up step by step: a matmul of
few rows, and a pass over an array of the kernel's size, at every one. Here the loop backward keeps
what reaches the matmul at each step, and one matmul over all steps follows. Of the forward pass it
keeps the states and the matmuls' results, and computes the gates a second time from these.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from rnnlab.cells.equations import Equations, output, recurrent_sum, where

Rows = tuple[Array, Array | None, Array | None]
"""Projected inputs (time, *batch, ...), and resets and masks (time, *batch)."""


@partial(jax.jit, static_argnums=(0, 1))
def scan(
    equations: Equations,
    dtype: DTypeLike,
    weights: tuple[Array, ...],
    carry: Any,
    init: Any,
    rows: Rows,
) -> tuple[Any, Array]:
    """The carry after the last step and all outputs, time first, in `dtype`.

    Args:
      equations: one object for equal options, as it keys a compiled program.
      dtype: of the matmuls and of the outputs.
      weights: what the equations need beside the state.
      carry, init: the state before the first step, and the one that resets put back.
      rows: a step resets first, then advances, then holds the old state where masked.
    """
    if equations.point is None:
        return _steps(equations, dtype, weights, carry, init, rows)
    return _scan(equations, dtype, weights, carry, init, rows)


def _steps(equations, dtype, weights, carry, init, rows):
    def body(carry, row):
        carry = advance(equations, weights, carry, init, row)
        return carry, output(carry).astype(dtype)

    return lax.scan(body, carry, rows)


def advance(
    equations: Equations, weights: tuple[Array, ...], carry: Any, init: Any, row: Rows
) -> Any:
    """One step: reset first, then advance, then hold."""
    pre, reset, mask = row
    carry = where(reset, init, carry)
    new = equations.step(carry, pre, *weights)
    return new if mask is None else where(mask, new, carry)


_scan = jax.custom_vjp(_steps, nondiff_argnums=(0, 1))


def _forward(equations, dtype, weights, carry, init, rows):
    def body(carry, row):
        pre, reset, mask = row
        carry = where(reset, init, carry)
        recurrent = recurrent_sum(output(carry), *weights, dtype=dtype)
        new = equations.point(carry, pre, recurrent)
        new = new if mask is None else where(mask, new, carry)
        return new, (new, recurrent)

    last, (carries, recurrents) = lax.scan(body, carry, rows)
    residuals = weights, carry, init, rows, carries, recurrents
    return (last, output(carries).astype(dtype)), residuals


def _backward(equations, dtype, residuals, cotangents):
    weights, carry, init, (pre, reset, mask), carries, recurrents = residuals
    dlast, dys = cotangents
    before = where(reset, init, preceding(carries, carry))

    def matmul(h, weights):
        return recurrent_sum(h, *weights, dtype=dtype)

    def body(at, row):
        dcarry, dinit = at
        carry, pre, recurrent, reset, mask, dy = row
        dcarry = _with_output(dcarry, dy)
        zeros = jax.tree.map(jnp.zeros_like, dcarry)
        dnew = dcarry if mask is None else where(mask, dcarry, zeros)
        dbefore, dpre, drecurrent = jax.vjp(equations.point, carry, pre, recurrent)[1](dnew)
        (dh,) = jax.vjp(lambda h: matmul(h, weights), output(carry))[1](drecurrent)
        dbefore = _with_output(dbefore, dh)
        if mask is not None:
            dbefore = jax.tree.map(jnp.add, dbefore, where(mask, zeros, dcarry))
        # A sum's cotangents are one array: it is kept once where gates add both parts.
        kept = (drecurrent,) if dpre is drecurrent else (drecurrent, dpre)
        if reset is not None:
            dinit = jax.tree.map(jnp.add, dinit, where(reset, dbefore, zeros))
        return (where(reset, zeros, dbefore), dinit), kept

    steps = before, pre, recurrents, reset, mask, dys
    start = dlast, jax.tree.map(jnp.zeros_like, init)
    (dcarry, dinit), kept = lax.scan(body, start, steps, reverse=True)
    drecurrent, dpre = kept[0], kept[-1]
    (dweights,) = jax.vjp(lambda weights: matmul(output(before), weights), weights)[1](drecurrent)
    return dweights, dcarry, dinit, (dpre, None, None)


_scan.defvjp(_forward, _backward)


def preceding(carries: Any, carry: Any) -> Any:
    """The carry before each step, time first, of those after it and the one before the first."""
    return jax.tree.map(lambda s, c: jnp.concatenate([c[None], s[:-1]]), carries, carry)


def _with_output(dcarry, dy):
    if isinstance(dcarry, tuple):
        return type(dcarry)(*dcarry[:-1], dcarry[-1] + dy.astype(dcarry[-1].dtype))
    return dcarry + dy.astype(dcarry.dtype)
