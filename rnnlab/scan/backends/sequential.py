"""The recurrence as a loop over time that works in place.

The loops index the time axis of batch-major arrays, so nothing is transposed, and write each step
where they have read it: `h` overwrites `b`, and `g` overwrites `dh`. XLA then neither clears a
second buffer nor, in a training step, allocates one. This works because only one fusion reads a
step, the one whose result is the carried state: where two read it, XLA copies the whole buffer at
every step.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from rnnlab.scan.affine import carry_term


def scan(
    a: Array, b: Array, h0: Array, reset: Array | None, *, reverse: bool
) -> tuple[Array, Array]:
    """Returns all states, in b's dtype, and the last one. The state is kept in h0's dtype."""
    length, dtype = b.shape[-2], h0.dtype

    def body(i, carry):
        state, h = carry
        t = length - 1 - i if reverse else i
        term = carry_term(_slice_time(a, t, dtype), state, _slice_time(reset, t))
        state = _slice_time(h, t, dtype) + term
        return state, _update_time(h, state, t)

    last, h = lax.fori_loop(0, length, body, (h0, b))
    return h, last


def transposed_scan(
    a: Array, dh: Array, dlast: Array, reset: Array | None, *, reverse: bool
) -> tuple[Array, Array]:
    """Returns the cotangents of `scan`'s b and h0 from those of its two results.

    The loop runs against time and reads `a` one step behind, so no shifted copy of it is made.
    """
    length, dtype = dh.shape[-2], dlast.dtype

    def at(i):
        return i if reverse else length - 1 - i

    def term(g, t):
        return carry_term(_slice_time(a, t, dtype), g, _slice_time(reset, t))

    def body(i, carry):
        g, db = carry
        g = _slice_time(db, at(i), dtype) + term(g, at(i - 1))
        return g, _update_time(db, g, at(i))

    g = _slice_time(dh, at(0), dtype) + dlast
    g, db = lax.fori_loop(1, length, body, (g, _update_time(dh, g, at(0))))
    return db, term(g, at(length - 1))


def constant_decay_vjp(
    a: Array,
    h: Array,
    h0: Array,
    dh: Array,
    dlast: Array,
    reset: Array | None,
    *,
    reverse: bool,
) -> tuple[Array, Array, Array]:
    """Returns the cotangents of `scan`'s a, b and h0 for an `a` that is constant in time.

    The loop is that of `transposed_scan` and sums the cotangents of `a`, (*batch, features), as it
    runs, so that none of them is stored.
    """
    length, dtype = dh.shape[-2], dlast.dtype

    def at(i):
        return i if reverse else length - 1 - i

    def body(i, carry):
        g, da, db = carry
        a_t, reset_t = _slice_time(a, at(i - 1), dtype), _slice_time(reset, at(i - 1))
        da = da + carry_term(g, _slice_time(h, at(i), dtype), reset_t)
        g = _slice_time(db, at(i), dtype) + carry_term(a_t, g, reset_t)
        return g, da, _update_time(db, g, at(i))

    g = _slice_time(dh, at(0), dtype) + dlast
    carry = (g, jnp.zeros_like(g), _update_time(dh, g, at(0)))
    g, da, db = lax.fori_loop(1, length, body, carry)
    final = at(length - 1)
    a_t, reset_t = _slice_time(a, final, dtype), _slice_time(reset, final)
    return da + carry_term(g, h0, reset_t), db, carry_term(a_t, g, reset_t)


def _slice_time(x: Array | None, t: Any, dtype=None) -> Array | None:
    """Returns step `t` of `x`, or its only step where `x` is constant in time.

    `t` is an int, an array, or the symbolic index of an exported program.
    """
    if x is None:
        return None
    t = 0 if x.shape[-2] == 1 else t
    step = lax.dynamic_index_in_dim(x, t, x.ndim - 2, keepdims=False, allow_negative_indices=False)
    return step if dtype is None else step.astype(dtype)


def _update_time(x: Array, step: Array, t: Any) -> Array:
    step = jnp.expand_dims(step.astype(x.dtype), x.ndim - 2)
    starts = (0,) * (x.ndim - 2) + (t, 0)
    return lax.dynamic_update_slice(x, step, starts, allow_negative_indices=False)
