"""Classic cells one step after another, by `jax.lax.scan`.

JAX's own gradient of such a loop adds up the recurrent kernel's cotangent at every step, a matrix
as large as the kernel. Where a step has one matmul, a gradient rule keeps the cotangents of its
sums instead, and one matmul over all steps follows the backward loop.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from rnnlab.cells.step_functions import (
    Equations,
    Gates,
    output,
    recurrent_dot,
    recurrent_gates,
    where,
    with_output,
)

Rows = tuple[Gates, Array | None, Array | None]
"""Projected inputs (time, *batch, features) for each gate, resets and masks (time, *batch)."""


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

    Where the step has one matmul, reverse mode alone is defined, of any order.
    """
    run = _plain if equations.sums is None else _with_one_kernel_gradient
    return run(equations, dtype, weights, carry, init, rows)


def advance(
    equations: Equations, weights: tuple[Array, ...], carry: Any, init: Any, row: Rows
) -> Any:
    """One step: reset first, then advance, then hold."""
    pre, reset, mask = row
    carry = where(reset, init, carry)
    return _hold(mask, equations.step(carry, pre, *weights), carry)


def _plain(equations, dtype, weights, carry, init, rows):
    def body(carry, row):
        carry = advance(equations, weights, carry, init, row)
        return carry, output(carry).astype(dtype)

    return lax.scan(body, carry, rows)


_with_one_kernel_gradient = jax.custom_vjp(_plain, nondiff_argnums=(0, 1))


def _forward(equations, dtype, weights, carry, init, rows):
    kernel, *others = weights

    def body(carry, row):
        pre, reset, mask = row
        carry = where(reset, init, carry)
        recurrent = recurrent_gates(output(carry), kernel, pre)
        sums = equations.sums(recurrent, pre, *others)
        new = _hold(mask, equations.pointwise(carry, sums), carry)
        return new, (new, sums)

    last, (carries, sums) = lax.scan(body, carry, rows)
    ys = output(carries).astype(dtype)
    return (last, ys), (weights, carry, init, rows, carries, sums)


def _backward(equations, dtype, residuals, cotangents):
    (kernel, *others), carry, init, (pre, reset, mask), carries, sums = residuals
    dlast, dys = cotangents
    before = where(reset, init, preceding(carries, carry))
    zeros = jax.tree.map(jnp.zeros_like, carry)
    # Outside the loop, as a matmul that reads it transposed is slower at every step.
    transposed = kernel.T
    # `sums` is linear: where its cotangents are taken is of no matter.
    row = tuple(output(zeros).astype(p.dtype) for p in pre)
    pull_row = jax.vjp(lambda r: equations.sums(r, row, *others), (output(zeros),) * len(pre))[1]

    def body(later, row):
        (dcarry, dinit), (dy, before, sums, reset, mask) = later, row

        def rest(carry, sums):
            new = _hold(mask, equations.pointwise(carry, sums), carry)
            return new, output(new).astype(dtype)

        dbefore, dsums = jax.vjp(rest, before, sums)[1]((dcarry, dy))
        (drecurrent,) = pull_row(dsums)
        dh = recurrent_dot(jnp.concatenate(drecurrent, -1), transposed, dtype)
        dbefore = with_output(dbefore, output(dbefore) + dh)
        dinit = jax.tree.map(jnp.add, dinit, where(reset, dbefore, zeros))
        return (where(reset, zeros, dbefore), dinit), dsums

    rows = dys, before, sums, reset, mask
    (dcarry, dinit), dsums = lax.scan(body, (dlast, zeros), rows, reverse=True)

    h = output(before)
    pull = jax.vjp(equations.sums, (jnp.zeros_like(h),) * len(pre), pre, *others)[1]
    drecurrent, dpre, *dothers = pull(dsums)
    h = h.reshape(-1, h.shape[-1]).T
    by_gate = [recurrent_dot(h, d.reshape(-1, d.shape[-1]), dtype) for d in drecurrent]
    return (jnp.concatenate(by_gate, -1), *dothers), dcarry, dinit, (dpre, None, None)


_with_one_kernel_gradient.defvjp(_forward, _backward)


def _hold(mask, new, carry):
    return new if mask is None else where(mask, new, carry)


def preceding(carries: Any, carry: Any) -> Any:
    """The carry before each step, time first, of those after it and the one before the first."""

    def one(s, c):
        return jnp.concatenate([c[None], s[:-1]])[: len(s)]  # of no step there is none before

    return jax.tree.map(one, carries, carry)
