"""One step of the recurrence: the few lines that every backend and every `step` method share."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

Gates = Callable[..., tuple[Array, Array]]
"""Pointwise map from the pre-activations of a gated recurrence to its coefficients (a, b)."""

Step = Callable[
    [tuple[Array, ...], Sequence[Array], Array | None, Array | None],
    tuple[tuple[Array, ...], tuple[Array, ...]],
]
"""What happens at a row of a walk over time: `step(carries, row, following, flag)`.

`row` holds a row of each array that is walked over, `following` that of one more, one row on in the
walk, `flag` an int32; the last two may be None. Returns the carries and the rows to write.
"""


def accumulation_dtype(*dtypes: DTypeLike) -> jnp.dtype:
    """The dtype that states, gates and sums are kept in: float64 if any is, else float32."""
    wide = jnp.dtype(jnp.float64)
    return wide if wide in map(jnp.dtype, dtypes) else jnp.dtype(jnp.float32)


def carry_term(a: Array, h: Array, cut: Array | None) -> Array:
    """What the state before a step contributes after it: `a * h`, or 0 where `cut`.

    The choice is made by `where` and not by a product, so that a NaN before a cut stays there. It
    is made of the factors too: the derivative of the product would multiply 0 by that NaN.
    """
    if cut is None:
        return a * h
    return jnp.where(cut, 0, a) * jnp.where(cut, 0, h)


def coefficients(
    gates: Gates,
    pre: Sequence[Array],
    init: Array,
    reset: Array | None,
    mask: Array | None,
) -> tuple[Array, Array]:
    """Coefficients (a, b) of `h = b + carry_term(a, h, reset)`, with the flags already in them.

    They have `init`'s dtype. A masked step holds the state (a = 1, b = 0); a reset puts it back to
    `init` first, which for a linear step is `b + a * init` and no inflow from before.
    """
    if mask is not None:
        pre = [jnp.where(mask, x, 0) for x in pre]
    a, b = gates(*(x.astype(init.dtype) for x in pre))
    if mask is not None:
        a, b = jnp.where(mask, a, 1), jnp.where(mask, b, 0)
    if reset is not None:
        b = jnp.where(reset, b + a * init, b)
    return a, b
