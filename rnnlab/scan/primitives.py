"""The scans of one device as differentiable functions of arrays: the linear and the gated one.

With A the matrix that `h = A^-1 (b + a[0] h0)` inverts, the cotangents of `b` are A^-T times those
of `h`: the same recurrence against time (Martin and Cundy, "Parallelizing Linear Recurrent Neural
Nets Over Sequence Length", arXiv 1709.04057, section 2.2). `_scan` and `_transposed_scan` are that
pair. Each is the other's transpose, so each is the other's gradient rule and derivatives of any
order follow. Only the coefficients and one solution are kept for the backward pass.

Nothing is conjugated for complex numbers: JAX's cotangents are those of the transpose.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.scan.affine import GatedOperands, as_residual, carry_term
from rnnlab.scan.backends import associative, chunked, sequential, unfused
from rnnlab.scan.backends.unfused import shift_states
from rnnlab.scan.dispatch import dispatch
from rnnlab.scan.pallas import ops


@partial(jax.jit, static_argnames=("reverse", "backend"))
def scan_with_last_state(
    a: Array, b: Array, h0: Array, reset: Array | None, *, reverse: bool, backend: str
) -> tuple[Array, Array]:
    """Returns the states and the last of them in h0's dtype. Arguments are not checked."""
    return _scan(a, b, h0, reset, reverse, backend)


@partial(jax.jit, static_argnames=("reverse", "backend"))
def transposed_scan(
    a: Array, dh: Array, dlast: Array, reset: Array | None, *, reverse: bool, backend: str
) -> tuple[Array, Array]:
    """Returns the cotangents of `scan_with_last_state`'s b and h0 from those of its results."""
    return _transposed_scan(a, dh, dlast, reset, reverse, backend)


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _scan(a, b, h0, reset, reverse, backend):
    return dispatch(
        backend,
        h0.dtype,
        b.shape[-1],
        (a, b, h0, reset),
        sequential=partial(sequential.scan, reverse=reverse),
        parallel=partial(associative.scan, reverse=reverse),
        kernel=partial(ops.scan, reverse=reverse) if a.shape == b.shape else None,
    )


def _scan_forward(a, b, h0, reset, reverse, backend):
    h, last = _scan(a, b, h0, reset, reverse, backend)
    return (h, last), (as_residual(a), h, as_residual(h0), reset)


def _scan_backward(reverse, backend, residuals, cotangents):
    a, h, h0, reset = residuals
    dh, dlast = cotangents
    # Widened, so that a 16-bit g neither overflows nor rounds before it is multiplied by h.
    da, db, dh0 = scan_vjp(a, h, h0, dh.astype(dlast.dtype), dlast, reset, reverse, backend)
    return da, db.astype(dh.dtype), dh0, None


@partial(jax.custom_vjp, nondiff_argnums=(6, 7))
def scan_vjp(a, h, h0, dh, dlast, reset, reverse, backend):
    """Returns the cotangents of `_scan`'s a, b and h0, a function with a derivative of its own."""
    constant = a.shape != h.shape
    loop = _constant_decay_vjp if constant else partial(_unfused_vjp, sequential.transposed_scan)
    return dispatch(
        backend,
        dlast.dtype,
        h.shape[-1],
        (a, h, h0, dh, dlast, reset),
        sequential=partial(loop, reverse=reverse),
        parallel=partial(_unfused_vjp, associative.transposed_scan, reverse=reverse),
        kernel=None if constant else partial(ops.scan_vjp, reverse=reverse),
    )


def _unfused_vjp(transposed_scan, a, h, h0, dh, dlast, reset, *, reverse):
    g, dh0 = transposed_scan(a, dh, dlast, reset, reverse=reverse)
    return decay_cotangent(a, h, h0, g, reset, reverse), g, dh0


def _constant_decay_vjp(a, *operands, reverse):
    da, g, dh0 = sequential.constant_decay_vjp(a, *operands, reverse=reverse)
    return _sum_like(a, da), g, dh0


def _scan_vjp_forward(*operands_and_options):
    return scan_vjp(*operands_and_options), as_residual(operands_and_options[:6])


def _scan_vjp_backward(reverse, backend, operands, cotangents):
    *operands, reset = operands
    differentiable = partial(transposed_scan, backend=backend)

    def unfused_vjp(*operands):
        return _unfused_vjp(differentiable, *operands, reset, reverse=reverse)

    return *jax.vjp(unfused_vjp, *operands)[1](cotangents), None


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _transposed_scan(a, dh, dlast, reset, reverse, backend):
    return dispatch(
        backend,
        dlast.dtype,
        dh.shape[-1],
        (a, dh, dlast, reset),
        sequential=partial(sequential.transposed_scan, reverse=reverse),
        parallel=partial(associative.transposed_scan, reverse=reverse),
        kernel=partial(ops.transposed_scan, reverse=reverse) if a.shape == dh.shape else None,
    )


def _transposed_scan_forward(a, dh, dlast, reset, reverse, backend):
    g, dh0 = _transposed_scan(a, dh, dlast, reset, reverse, backend)
    return (g, dh0), (as_residual(a), g, reset)


def _transposed_scan_backward(reverse, backend, residuals, cotangents):
    a, g, reset = residuals
    dg, ddh0 = cotangents
    v, last = _scan(a, dg.astype(ddh0.dtype), ddh0, reset, reverse, backend)
    return decay_cotangent(a, v, ddh0, g, reset, reverse), v.astype(dg.dtype), last, None


def decay_cotangent(a, h, h0, g, reset, reverse):
    """Returns the cotangent of `a`: the state before a step times that of the state after it."""
    return _sum_like(a, carry_term(g.astype(h0.dtype), shift_states(h, h0, reverse), reset))


def _sum_like(a, da):
    """Returns `da` in the shape and dtype of `a`: summed if `a` is constant, real if `a` is."""
    if da.shape != a.shape:
        da = da.reshape(-1, da.shape[-1]).sum(0).reshape(a.shape)
    return (da if jnp.iscomplexobj(a) else jnp.real(da)).astype(a.dtype)


_scan.defvjp(_scan_forward, _scan_backward)
scan_vjp.defvjp(_scan_vjp_forward, _scan_vjp_backward)
_transposed_scan.defvjp(_transposed_scan_forward, _transposed_scan_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0, 2, 3))
def gated_states(coefficients, operands, reverse, backend):
    """Returns the states of a gated scan and the last of them. Arguments are not checked."""
    return dispatch(
        backend,
        operands.h0.dtype,
        operands.h0.shape[-1],
        (operands,),
        sequential=partial(chunked.gated_scan, coefficients, reverse=reverse),
        parallel=partial(unfused.gated_scan, associative.scan, coefficients, reverse=reverse),
        kernel=lambda kernel, *xs: ops.gated_scan(kernel, coefficients, *xs, reverse=reverse),
    )


def _gated_states_forward(coefficients, operands, reverse, backend):
    h, last = gated_states(coefficients, operands, reverse, backend)
    return (h, last), (as_residual(operands), h)


def _gated_states_backward(coefficients, reverse, backend, residuals, cotangents):
    return (gated_vjp(coefficients, *residuals, *cotangents, reverse, backend),)


@partial(jax.custom_vjp, nondiff_argnums=(0, 5, 6))
def gated_vjp(coefficients, operands, h, dh, dlast, reverse, backend):
    """Returns the cotangents of the operands of `gated_states`; it has a derivative of its own."""
    return dispatch(
        backend,
        operands.h0.dtype,
        operands.h0.shape[-1],
        (operands, h, dh, dlast),
        sequential=partial(chunked.gated_vjp, coefficients, reverse=reverse),
        parallel=partial(
            unfused.gated_vjp, associative.transposed_scan, coefficients, reverse=reverse
        ),
        kernel=lambda kernel, *xs: ops.gated_vjp(kernel, coefficients, *xs, reverse=reverse),
    )


def _gated_vjp_forward(coefficients, operands, h, dh, dlast, reverse, backend):
    cotangents = gated_vjp(coefficients, operands, h, dh, dlast, reverse, backend)
    return cotangents, as_residual((operands, h, dh, dlast))


def _gated_vjp_backward(coefficients, reverse, backend, residuals, cotangents):
    # Chunks and kernels have no derivative; the unfused form on the differentiable scan has.
    operands, *states = residuals
    *arrays, reset, mask = operands

    def unfused_vjp(arrays, states):
        return unfused.gated_vjp(
            partial(transposed_scan, backend=backend),
            coefficients,
            GatedOperands(*arrays, reset, mask),
            *states,
            reverse=reverse,
        )

    darrays, dstates = jax.vjp(unfused_vjp, arrays, states)[1](cotangents)
    return GatedOperands(*darrays), *dstates


gated_states.defvjp(_gated_states_forward, _gated_states_backward)
gated_vjp.defvjp(_gated_vjp_forward, _gated_vjp_backward)
