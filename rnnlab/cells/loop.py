"""Classic cells one step after another, by `jax.lax.scan`."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from rnnlab.cells.equations import Equations, output, where

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


def preceding(carries: Any, carry: Any) -> Any:
    """The carry before each step, time first, of those after it and the one before the first."""
    return jax.tree.map(lambda s, c: jnp.concatenate([c[None], s[:-1]]), carries, carry)
