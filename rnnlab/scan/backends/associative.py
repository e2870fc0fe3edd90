"""The recurrence through `jax.lax.associative_scan`: logarithmic depth, portable, more traffic.

A step is the affine map `h -> b + where(cut, 0, a * h)`. Two steps compose to a step of the same
form, which makes the composition associative (Blelloch, "Prefix sums and their applications", 1990,
section 1.4).
"""

import jax.numpy as jnp
from jax import Array, lax

from rnnlab.scan.affine import carry_term


def linear(
    a: Array, b: Array, h0: Array, cut: Array | None, *, reverse: bool
) -> tuple[Array, Array]:
    """All states and the last one. The state is kept in h0's dtype, `h` has b's."""
    dtype, axis = h0.dtype, b.ndim - 2
    first, final = (-1, 0) if reverse else (0, -1)
    # h0 enters through the first step: no element is added, so powers of two stay powers of two.
    cut_first = None if cut is None else cut[..., first, :]
    start = carry_term(a[..., first, :].astype(dtype), h0, cut_first)
    steps = (a.astype(dtype), b.astype(dtype).at[..., first, :].add(start))
    if cut is None:
        _, h = lax.associative_scan(_compose, steps, reverse=reverse, axis=axis)
    else:
        _, h, _ = lax.associative_scan(_compose_cut, (*steps, cut), reverse=reverse, axis=axis)
    return h.astype(b.dtype), h[..., final, :]


def transpose(
    a: Array, dh: Array, dlast: Array, cut: Array | None, *, reverse: bool
) -> tuple[Array, Array]:
    """The transpose of `linear`: the same recurrence against time, its coefficients one step on."""
    first = -1 if reverse else 0
    a_later, cut_later = _later(a, 1, reverse), _later(cut, False, reverse)
    g, g_first = linear(a_later, dh, dlast, cut_later, reverse=not reverse)
    cut_first = None if cut is None else cut[..., first, :]
    return g, carry_term(a[..., first, :].astype(g_first.dtype), g_first, cut_first)


def _compose(earlier, later):
    a1, b1 = earlier
    a2, b2 = later
    return a2 * a1, b2 + a2 * b1


def _compose_cut(earlier, later):
    a1, b1, cut1 = earlier
    a2, b2, cut2 = later
    return carry_term(a2, a1, cut2), b2 + carry_term(a2, b1, cut2), cut1 | cut2


def _later(x: Array | None, fill, reverse: bool) -> Array | None:
    """`x` one step on in the recurrence's own direction, `fill` after the last step."""
    if x is None:
        return None
    edge = jnp.full_like(x[..., :1, :], fill)
    parts = (edge, x[..., :-1, :]) if reverse else (x[..., 1:, :], edge)
    return jnp.concatenate(parts, axis=-2)
