"""Scans over a time axis that is cut over devices, and their gradients.

Each shard composes its steps to one affine map in a pass that stores nothing per time step, the
shards exchange these maps, and each scans its own steps from the state that enters it:

    map = steps of the shard as one          2 batch features numbers, sent once
    h_in = maps of the shards before it, applied to h0
    h, last = scan(steps, h_in)

The gradient does the same against time. The maps differ from those of the forward pass only in `b`,
so `batch features` numbers are sent:

    b = cotangent of h_in if nothing came from later shards
    dlast = maps of the shards after it
    gradients = gradients of scan(steps, h_in), from dh and dlast

No array of the length of time is sent, and no coefficient of a gated scan is stored. Every scan
here is the transpose of another, as in `rnnlab.scan.linear`, which gives derivatives of any order.
To this end a scan also returns `h_in`, the last state of the shard before: a cotangent of it is one
more cotangent of that state.

Arguments are those of the scans of one device. They vary over the axis, with `h0` the same on all
shards. Operations return the state of this shard's last step; its cotangent is that on the shard.

Sources: arXiv 1709.04057, section 2.2 (the transpose); LASP-2, arXiv 2502.07563 (one exchange of
the states of all shards).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from rnnlab.scan.affine import CoefficientFn, GatedOperands, as_residual
from rnnlab.scan.backends import unfused
from rnnlab.scan.composition import (
    AffineMap,
    compose_gated_steps,
    compose_steps,
    compose_transposed_gated_steps,
    compose_transposed_steps,
)
from rnnlab.scan.primitives import (
    decay_cotangent,
    gated_states,
    gated_vjp,
    scan_vjp,
    scan_with_last_state,
    transposed_scan,
)
from rnnlab.scan.time_shards import AnyMap, entering, is_first


class Cut(NamedTuple):
    """The mesh axis over which time is cut, and the static arguments of a scan.

    Attributes:
      axis: name of the mesh axis.
      reverse, backend: as in `linear_scan`.
    """

    axis: str
    reverse: bool
    backend: str


class ShardStates(NamedTuple):
    """The states of one shard.

    Attributes:
      h: all states, (*batch, time, features).
      last: the state after the last step of the shard, (*batch, features).
      first: the state that enters the shard, (*batch, features).
      maps: the maps of all shards without `b`, kept for the gradient, or None. Its cotangents are
        ignored: it is a function of the coefficients, which have all of its derivatives.
    """

    h: Array
    last: Array
    first: Array
    maps: AffineMap | None


@partial(jax.jit, static_argnums=4)
def cut_scan(a: Array, b: Array, h0: Array, reset: Array | None, cut: Cut) -> ShardStates:
    """Returns the states of a linear scan, as `linear.scan_with_last_state`."""
    return _scan(a, b, h0, reset, cut)


@partial(jax.jit, static_argnums=5)
def cut_transposed_scan(
    a: Array, dh: Array, dlast: Array, dfirst: Array, reset: Array | None, cut: Cut
) -> tuple[Array, Array]:
    """Returns the cotangents of b and h0 from those of the states; that of h0 on the first shard.

    It is `linear.transposed_scan` of a cut sequence, where `dlast` is the cotangent of each shard's
    last state and `dfirst` that of the state which enters it.
    """
    return _transposed_scan(a, dh, dlast, dfirst, reset, cut)


@partial(jax.jit, static_argnums=(0, 2))
def cut_gated_scan(coefficients: CoefficientFn, operands: GatedOperands, cut: Cut) -> ShardStates:
    """Returns the states of a gated scan."""
    return _gated_scan(coefficients, operands, cut)


def enter(steps: AnyMap, h0: Array, cut: Cut) -> tuple[Array, AnyMap | None]:
    """Returns the state that enters this shard, h0 on the first, and the maps of all shards."""
    if lax.axis_size(cut.axis) == 1:
        return h0, None
    first = is_first(cut.axis, cut.reverse)
    steps = steps._replace(b=jnp.where(first, steps(h0), steps.b))
    state, maps = entering(steps, cut.axis, reverse=cut.reverse)
    return jnp.where(first, h0, state), maps


def _later_cotangent(
    steps: AffineMap, dlast: Array, dfirst: Array, cut: Cut, maps: AffineMap | None
) -> Array:
    """Returns the cotangent of this shard's last state: `dlast`, and what later shards add.

    `steps` maps the cotangent of the last state to that of the first, to which `dfirst` is added.
    """
    if lax.axis_size(cut.axis) == 1:
        return dlast
    steps = steps._replace(b=dfirst + steps(dlast))
    later, _ = entering(steps, cut.axis, reverse=not cut.reverse, gathered=maps)
    return dlast + jnp.where(is_first(cut.axis, not cut.reverse), 0, later)


def _only_first(dh0: Array, dfirst: Array, cut: Cut) -> Array:
    """Returns the cotangent of h0, which only the first shard reads."""
    return jnp.where(is_first(cut.axis, cut.reverse), dfirst + dh0, 0)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _scan(a, b, h0, reset, cut):
    options = {"reverse": cut.reverse, "backend": cut.backend}
    first, maps = enter(compose_steps(a, b, reset, h0, **options), h0, cut)
    h, last = scan_with_last_state(a, b, first, reset, **options)
    return ShardStates(h, last, first, maps)


def _scan_forward(a, b, h0, reset, cut):
    states = _scan(a, b, h0, reset, cut)
    return states, (as_residual(a), states.h, states.first, reset, states.maps)


def _scan_backward(cut, residuals, cotangents):
    a, h, first, reset, maps = residuals
    dh, dlast, dfirst, _ = cotangents
    da, db, dh0 = _scan_vjp(a, h, first, dh.astype(dlast.dtype), dlast, dfirst, reset, maps, cut)
    return da, db.astype(dh.dtype), dh0, None


@partial(jax.custom_vjp, nondiff_argnums=(8,))
def _scan_vjp(a, h, first, dh, dlast, dfirst, reset, maps, cut):
    """The cotangents of `_scan`'s a, b and h0, a function with a derivative of its own."""
    options = {"reverse": cut.reverse, "backend": cut.backend}
    steps = compose_transposed_steps(a, dh, reset, dlast, **options)
    dlast = _later_cotangent(steps, dlast, dfirst, cut, maps)
    da, db, dh0 = scan_vjp(a, h, first, dh, dlast, reset, cut.reverse, cut.backend)
    return da, db, _only_first(dh0, dfirst, cut)


def _scan_vjp_forward(*operands_and_cut):
    return _scan_vjp(*operands_and_cut), as_residual(operands_and_cut[:7])


def _scan_vjp_backward(cut, operands, cotangents):
    *operands, reset = operands

    def unfused_vjp(a, h, first, dh, dlast, dfirst):
        g, dh0 = _transposed_scan(a, dh, dlast, dfirst, reset, cut)
        return decay_cotangent(a, h, first, g, reset, cut.reverse), g, dh0

    return *jax.vjp(unfused_vjp, *operands)[1](cotangents), None, None


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def _transposed_scan(a, dh, dlast, dfirst, reset, cut):
    options = {"reverse": cut.reverse, "backend": cut.backend}
    steps = compose_transposed_steps(a, dh, reset, dlast, **options)
    dlast = _later_cotangent(steps, dlast, dfirst, cut, None)
    g, dh0 = transposed_scan(a, dh, dlast, reset, **options)
    return g, _only_first(dh0, dfirst, cut)


def _transposed_scan_forward(a, dh, dlast, dfirst, reset, cut):
    g, dh0 = _transposed_scan(a, dh, dlast, dfirst, reset, cut)
    return (g, dh0), (as_residual(a), g, reset)


def _transposed_scan_backward(cut, residuals, cotangents):
    a, g, reset = residuals
    dg, ddh0 = cotangents
    v = _scan(a, dg.astype(ddh0.dtype), ddh0, reset, cut)
    da = decay_cotangent(a, v.h, v.first, g, reset, cut.reverse)
    return da, v.h.astype(dg.dtype), v.last, v.first, None


@partial(jax.custom_vjp, nondiff_argnums=(0, 2))
def _gated_scan(coefficients, operands, cut):
    options = {"reverse": cut.reverse, "backend": cut.backend}
    steps = compose_gated_steps(coefficients, operands, **options)
    first, maps = enter(steps, operands.h0, cut)
    entered = operands._replace(h0=first)
    h, last = gated_states(coefficients, entered, cut.reverse, cut.backend)
    return ShardStates(h, last, first, maps)


def _gated_scan_forward(coefficients, operands, cut):
    states = _gated_scan(coefficients, operands, cut)
    entered = as_residual(operands)._replace(h0=states.first)
    return states, (entered, states.h, states.maps)


def _gated_scan_backward(coefficients, cut, residuals, cotangents):
    operands, h, maps = residuals
    dh, dlast, dfirst, _ = cotangents
    return (_gated_vjp(coefficients, operands, h, dh, dlast, dfirst, maps, cut),)


@partial(jax.custom_vjp, nondiff_argnums=(0, 7))
def _gated_vjp(coefficients, operands, h, dh, dlast, dfirst, maps, cut):
    """The cotangents of `_gated_scan`'s operands, whose h0 is the state that enters the shard."""
    options = {"reverse": cut.reverse, "backend": cut.backend}
    steps = compose_transposed_gated_steps(coefficients, operands, dh, dlast, **options)
    dlast = _later_cotangent(steps, dlast, dfirst, cut, maps)
    found = gated_vjp(coefficients, operands, h, dh, dlast, cut.reverse, cut.backend)
    return found._replace(h0=_only_first(found.h0, dfirst, cut))


def _gated_vjp_forward(coefficients, operands, h, dh, dlast, dfirst, maps, cut):
    found = _gated_vjp(coefficients, operands, h, dh, dlast, dfirst, maps, cut)
    return found, as_residual((operands, h, dh, dlast, dfirst))


def _gated_vjp_backward(coefficients, cut, residuals, cotangents):
    operands, *states = residuals
    *arrays, reset, mask = operands

    def unfused_vjp(arrays, states):
        h, dh, dlast, dfirst = states

        def transposed_scan(a, dh, dlast, reset, *, reverse):
            return _transposed_scan(a, dh, dlast, dfirst, reset, cut)

        return unfused.gated_vjp(
            transposed_scan,
            coefficients,
            GatedOperands(*arrays, reset, mask),
            h,
            dh,
            dlast,
            reverse=cut.reverse,
        )

    darrays, dstates = jax.vjp(unfused_vjp, arrays, states)[1](cotangents)
    return GatedOperands(*darrays), *dstates, None


_scan.defvjp(_scan_forward, _scan_backward)
_scan_vjp.defvjp(_scan_vjp_forward, _scan_vjp_backward)
_transposed_scan.defvjp(_transposed_scan_forward, _transposed_scan_backward)
_gated_scan.defvjp(_gated_scan_forward, _gated_scan_backward)
_gated_vjp.defvjp(_gated_vjp_forward, _gated_vjp_backward)
