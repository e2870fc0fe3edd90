"""Keeps NaN and infinity in their segment where time steps are multiplied as matrices.

A product of matrices over a chunk of time steps adds `0 * x` for the steps that a step does not
read: those of other segments, and later ones. That is NaN where `x` is not finite. `isolated`
therefore replaces such steps by zeros before the products, and writes NaN where a loop over time
would have let them reach: from a step to the end of its segment, and in gradients from there to its
start.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from rnnlab.scan.affine import as_residual

ChunkedScan = Callable[[Array, tuple[Array, ...], Array], tuple[Array, Array]]
"""`(read, written, state) -> (o, last state)`, differentiable; time is the second axis from the
last, the batch axes come before it."""


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def isolated(
    scan: ChunkedScan, read: Array, written: tuple[Array, ...], state: Array, reset: Array
) -> tuple[Array, Array]:
    """Returns `scan(read, written, state)` with NaN only where a loop over time would have it.

    Args:
      scan: computes outputs and last state. The log decay is the last of `written`; it is minus
        infinity at a reset.
      read: what reads the state of its own step only, (*batch, time, key_features).
      written: what the state depends on, arrays (*batch, time, ...).
      state: the state before the first step, (*batch, key_features, value_features).
      reset: where the state is cleared before the step, (*batch, time).
    """
    return _forward(scan, read, written, state, reset)[0]


def _forward(scan, read, written, state, reset):
    bad_read = _not_finite(read)
    bad_step = _is_bad_decay(written[-1])
    for x in written[:-1]:
        bad_step = bad_step | _not_finite(x)
    bad_state = ~jnp.isfinite(state).all((-2, -1))
    clean = (
        _zeroed(read, bad_read),
        tuple(_zeroed(x, bad_step) for x in written),
        jnp.where(bad_state[..., None, None], 0, state),
    )
    (o, last), transpose = jax.vjp(scan, *clean)
    reached = _reached(bad_step, bad_state, reset)
    wrong = reached | bad_read
    o = jnp.where(wrong[..., None], jnp.nan, o)
    last = jnp.where(reached[..., -1, None, None], jnp.nan, last)
    return (o, last), (as_residual(transpose), wrong, reached[..., -1], reset)


def _backward(scan, residuals, cotangents):
    transpose, wrong, wrong_last, reset = residuals
    do, dlast = cotangents
    bad, bad_last = _not_finite(do), ~jnp.isfinite(dlast).all((-2, -1))
    dread, dwritten, dstate = transpose(
        (_zeroed(do, bad | wrong), jnp.where((bad_last | wrong_last)[..., None, None], 0, dlast))
    )
    bad, bad_last = bad | wrong, bad_last | wrong_last
    # Against time, the border of two segments is after the step before the reset.
    border = jnp.concatenate([reset[..., 1:], jnp.zeros_like(reset[..., :1])], -1)
    reached = jnp.flip(_reached(jnp.flip(bad, -1), bad_last, jnp.flip(border, -1)), -1)
    before = reached[..., 0] & ~reset[..., 0]

    def poisoned(x, where):
        return jnp.where(where.reshape(*where.shape, *(1,) * (x.ndim - where.ndim)), jnp.nan, x)

    return (
        poisoned(dread, bad),
        tuple(poisoned(x, reached) for x in dwritten),
        poisoned(dstate, before),
        None,
    )


isolated.defvjp(_forward, _backward)


def _not_finite(x: Array) -> Array:
    return ~jnp.isfinite(x).all(-1)


def _is_bad_decay(log_decay: Array) -> Array:
    """Whether a log decay is NaN or plus infinity; minus infinity clears the state."""
    return ~(log_decay < jnp.inf).all(-1)


def _zeroed(x: Array, where: Array) -> Array:
    return jnp.where(where[..., None], 0, x)


def _reached(bad: Array, bad_state: Array, reset: Array) -> Array:
    """Returns whether a bad step, or a bad first state, is at or before a step in its segment."""
    axis = bad.ndim - 1
    number = jnp.broadcast_to(jnp.arange(1, bad.shape[-1] + 1, dtype=jnp.int32), bad.shape)
    start = lax.cummax(jnp.where(reset, number, 0), axis)
    last_bad = lax.cummax(jnp.where(bad, number, -1), axis)
    return jnp.maximum(last_bad, jnp.where(bad_state, 0, -1)[..., None]) >= start
