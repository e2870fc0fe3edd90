"""The recurrence as a loop over time that works in place.

The loops index the time axis of batch-major arrays, so nothing is transposed, and write each row
where they have read it: `h` takes the place of `b`, and `g` the place of `dh`. XLA then neither
clears a second buffer nor, in a training step, allocates one. It works because a row is read by one
fusion alone, the one whose result is the carried state: where two read it, XLA copies the whole
buffer at every step.
"""

import jax.numpy as jnp
from jax import Array, lax

from rnnlab.scan.affine import carry_term


def linear(
    a: Array, b: Array, h0: Array, cut: Array | None, *, reverse: bool
) -> tuple[Array, Array]:
    """All states and the last one. The state is kept in h0's dtype, `h` has b's."""
    length, dtype = b.shape[-2], h0.dtype

    def body(i, carry):
        state, h = carry
        t = length - 1 - i if reverse else i
        state = _row(h, t, dtype) + carry_term(_row(a, t, dtype), state, _row(cut, t))
        return state, _put(h, state, t)

    last, h = lax.fori_loop(0, length, body, (h0, b))
    return h, last


def transpose(
    a: Array, dh: Array, dlast: Array, cut: Array | None, *, reverse: bool
) -> tuple[Array, Array]:
    """The transpose of `linear`: cotangents of `b` and of `h0` from those of `h` and of the last.

    The loop runs against time and reads `a` one row behind, so no shifted copy of it is made.
    """
    length, dtype = dh.shape[-2], dlast.dtype

    def at(i):
        return i if reverse else length - 1 - i

    def body(i, carry):
        g, db = carry
        g = _row(db, at(i), dtype) + carry_term(_row(a, at(i - 1), dtype), g, _row(cut, at(i - 1)))
        return g, _put(db, g, at(i))

    g = _row(dh, at(0), dtype) + dlast
    g, db = lax.fori_loop(1, length, body, (g, _put(dh, g, at(0))))
    return db, carry_term(_row(a, at(length - 1), dtype), g, _row(cut, at(length - 1)))


def _row(x: Array | None, t: Array | int, dtype=None) -> Array | None:
    if x is None:
        return None
    row = lax.dynamic_index_in_dim(x, t, x.ndim - 2, keepdims=False, allow_negative_indices=False)
    return row if dtype is None else row.astype(dtype)


def _put(x: Array, row: Array, t: Array | int) -> Array:
    row = jnp.expand_dims(row.astype(x.dtype), x.ndim - 2)
    starts = (0,) * (x.ndim - 2) + (t, 0)
    return lax.dynamic_update_slice(x, row, starts, allow_negative_indices=False)
