"""The gated recurrence composed of its parts: gates over all steps at once, then the linear one.

`linear` and `transpose` are the parts: functions of a backend, or the differentiable pair.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.scan.affine import Gates, carry_term, coefficients


def previous(h: Array, h0: Array, reverse: bool) -> Array:
    """The state before each step, in h0's dtype: `h` one step on, `h0` at the end that it left."""
    edge, h = jnp.expand_dims(h0, -2), h.astype(h0.dtype)
    parts = (h[..., 1:, :], edge) if reverse else (edge, h[..., :-1, :])
    return jnp.concatenate(parts, axis=-2)


def gated(
    linear: Callable[..., tuple[Array, Array]],
    gates: Gates,
    pre: Sequence[Array],
    h0: Array,
    init: Array,
    reset: Array | None,
    mask: Array | None,
    *,
    reverse: bool,
) -> tuple[Array, Array]:
    """All states in the dtype of the last pre-activation, and the last one in h0's."""
    a, b = coefficients(gates, pre, jnp.expand_dims(init, -2), reset, mask)
    h, last = linear(a, b, h0, reset, reverse=reverse)
    return h.astype(pre[-1].dtype), last


def gated_transpose(
    transpose: Callable[..., tuple[Array, Array]],
    gates: Gates,
    pre: Sequence[Array],
    h0: Array,
    init: Array,
    reset: Array | None,
    mask: Array | None,
    h: Array,
    dh: Array,
    dlast: Array,
    *,
    reverse: bool,
) -> tuple[tuple[Array, ...], Array, Array]:
    """Cotangents of pre, h0 and init, the gates computed a second time."""

    def coefficients_of(pre, init):
        return coefficients(gates, pre, jnp.expand_dims(init, -2), reset, mask)

    (a, _), pull = jax.vjp(coefficients_of, tuple(pre), init)
    g, dh0 = transpose(a, dh.astype(a.dtype), dlast, reset, reverse=reverse)
    dpre, dinit = pull((carry_term(g, previous(h, h0, reverse), reset), g))
    return dpre, dh0, dinit
