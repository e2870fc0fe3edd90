"""The recurrence through an associative scan: logarithmic depth, portable, more traffic.

A step is the affine map `h -> b + where(reset, 0, a * h)`. Two steps compose to a step of the same
form, which makes the composition associative (Blelloch, "Prefix sums and their applications", 1990,
section 1.4).
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from rnnlab.scan.affine import carry_term

Elements = TypeVar("Elements")


def scan_elements(
    compose: Callable[[Elements, Elements], Elements],
    elements: Elements,
    *,
    reverse: bool,
    axis: int,
) -> Elements:
    """Returns the compositions of all elements up to each one along an axis.

    It is `jax.lax.associative_scan`, which needs a length that is an int. For the symbolic length
    of an exported program it composes neighbors at distances 1, 2, 4, ... in a loop of
    `log2(length)` passes over all elements (Hillis and Steele, "Data Parallel Algorithms", 1986),
    which has no gradient of its own.

    Args:
      compose: associative, `compose(earlier, later)`; elementwise over the axis.
      elements: a tuple of arrays of one rank.
      reverse: whether elements are composed from the last to the first.
      axis: the axis, not negative.
    """
    length = jax.tree.leaves(elements)[0].shape[axis]
    if isinstance(length, int):
        return lax.associative_scan(compose, elements, reverse=reverse, axis=axis)

    def body(carry):
        distance, elements = carry
        roll = partial(jnp.roll, shift=-distance if reverse else distance, axis=axis)
        composed = compose(jax.tree.map(roll, elements), elements)

        def select(new, old):
            t = lax.broadcasted_iota(jnp.int32, old.shape, axis)
            t = length - 1 - t if reverse else t
            return jnp.where(t >= distance, new, old)

        return 2 * distance, jax.tree.map(select, composed, elements)

    start = jnp.asarray(1, jnp.int32), elements
    return lax.while_loop(lambda carry: carry[0] < length, body, start)[1]


def scan(
    a: Array, b: Array, h0: Array, reset: Array | None, *, reverse: bool
) -> tuple[Array, Array]:
    """Returns all states, in b's dtype, and the last one. The state is kept in h0's dtype."""
    dtype, axis = h0.dtype, b.ndim - 2
    a = _per_step(a, b, reset)
    first, final = (-1, 0) if reverse else (0, -1)
    # h0 enters through the first step: no element is added, so powers of two stay powers of two.
    reset_first = None if reset is None else reset[..., first, :]
    start = carry_term(a[..., first, :].astype(dtype), h0, reset_first)
    steps = (a.astype(dtype), b.astype(dtype).at[..., first, :].add(start))
    if reset is None:
        _, h = scan_elements(_compose, steps, reverse=reverse, axis=axis)
    else:
        steps = (*steps, reset)
        _, h, _ = scan_elements(_compose_with_reset, steps, reverse=reverse, axis=axis)
    return h.astype(b.dtype), h[..., final, :]


def transposed_scan(
    a: Array, dh: Array, dlast: Array, reset: Array | None, *, reverse: bool
) -> tuple[Array, Array]:
    """Returns the cotangents of `scan`'s b and h0 from those of its two results.

    They are the same recurrence run against time, with the coefficients of the next step.
    """
    first = -1 if reverse else 0
    a = _per_step(a, dh, reset)
    a_next, reset_next = _shift(a, 1, reverse), _shift(reset, False, reverse)
    g, g_first = scan(a_next, dh, dlast, reset_next, reverse=not reverse)
    reset_first = None if reset is None else reset[..., first, :]
    return g, carry_term(a[..., first, :].astype(g_first.dtype), g_first, reset_first)


def _per_step(a: Array, b: Array, reset: Array | None) -> Array:
    """Repeats an `a` that is constant in time: per step, and per sequence where resets differ."""
    if a.shape == b.shape:
        return a
    batch = a.shape[:-2] if reset is None else b.shape[:-2]
    return jnp.broadcast_to(a, (*batch, *b.shape[-2:]))


def _compose(earlier, later):
    a1, b1 = earlier
    a2, b2 = later
    return a2 * a1, b2 + a2 * b1


def _compose_with_reset(earlier, later):
    a1, b1, reset1 = earlier
    a2, b2, reset2 = later
    return carry_term(a2, a1, reset2), b2 + carry_term(a2, b1, reset2), reset1 | reset2


def _shift(x: Array | None, fill, reverse: bool) -> Array | None:
    """Returns the value of `x` at the next step of the recurrence, `fill` after the last."""
    if x is None:
        return None
    edge = jnp.full_like(x[..., :1, :], fill)
    parts = (edge, x[..., :-1, :]) if reverse else (x[..., 1:, :], edge)
    return jnp.concatenate(parts, axis=-2)
