"""The linear recurrence `h[t] = a[t] * h[t-1] + b[t]`, its backends and its gradient.

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
from jaxtyping import Bool, Inexact

from rnnlab.dtypes import accumulation_dtype
from rnnlab.errors import explain_forward_mode
from rnnlab.scan.affine import as_residual, carry_term
from rnnlab.scan.backends import associative, sequential
from rnnlab.scan.backends.unfused import shift_states
from rnnlab.scan.dispatch import BACKENDS, dispatch
from rnnlab.scan.pallas import ops
from rnnlab.scan.varying import match_varying
from rnnlab.validation import require_flags, require_inexact, require_one_of, require_shape


def linear_scan(
    a: Inexact[Array, "*batch time features"] | Inexact[Array, " features"],
    b: Inexact[Array, "*batch time features"],
    h0: Inexact[Array, "*batch features"] | None = None,
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    reverse: bool = False,
    backend: str = "auto",
) -> Inexact[Array, "*batch time features"]:
    """Solves `h[t] = a[t] * h[t-1] + b[t]` along the second-last axis.

    Args:
      a: decay of the state at each step, of b's shape, or one decay per feature for all steps. It
        is ignored where `reset`.
      b: input to the state.
      h0: state before the first step; None is zeros.
      reset: where True, the state is cleared before that step's input is added, with `where`:
        nothing from before reaches anything after, NaN included, neither forward nor in the
        gradient.
      reverse: runs from the last step to the first, `h[t] = a[t] * h[t+1] + b[t]`; `h0` then comes
        after the last step and `reset[t]` clears what comes from `t + 1`.
      backend: `"sequential"` is one loop over time. `"associative"` is `jax.lax.associative_scan`,
        which needs the product of `a` over any span to be finite, as it is for gates. `"pallas"` is
        a kernel for GPUs from compute capability 9.0 on and, not yet measured, for TPUs; it is for
        float32 states and an `a` of b's shape, and elsewhere equals `"auto"`. `"auto"` is the loop
        on CPU, the kernel on a single GPU if it applies and features are a multiple of 128, and
        otherwise the second, chosen when the program is lowered. `rnnlab.scan.resolve_backend`
        returns which one runs.

    Returns:
      All states, in b's dtype; if another argument is complex, in the complex dtype of b's
      precision. Arithmetic is in 32 bits per real number, or 64 if an argument has them.

    The gradient (reverse mode, of any order) is the recurrence run against time. It keeps `a` and
    `h` only. That of an `a` per feature is summed over the steps. Forward mode is not defined:
    `jax.jvp`, `jax.jacfwd` and `jax.hessian` raise TypeError. `jax.jacrev(jax.grad(f))` is a
    Hessian in reverse mode.

    Raises:
      ValueError: shapes differ, a dtype is not real or complex floating (`reset`: not bool), or
        the backend is unknown.

    Source: arXiv 1709.04057, section 2.2.

    >>> import jax.numpy as jnp
    >>> a, b = jnp.full((3, 1), 0.5), jnp.ones((3, 1))
    >>> print(linear_scan(a, b)[:, 0])
    [1.   1.5  1.75]
    >>> print(linear_scan(a, b, reset=jnp.array([False, True, False]))[:, 0])
    [1.  1.  1.5]
    >>> print(linear_scan(jnp.array([0.5j]), b)[:, 0])
    [1.  +0.j  1.  +0.5j 0.75+0.5j]
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    reset = None if reset is None else jnp.asarray(reset)
    require_inexact(a=a, b=b)
    if b.ndim < 2:
        raise ValueError(
            f"b must have shape (*batch, time, features), got {b.shape}; add the missing axes"
        )
    if a.shape != b.shape[-1:]:
        require_shape("a", a, b.shape, "the shape of b, or (features,)")
    require_flags(b.shape[:-1], "the shape of b without features", reset=reset)
    require_one_of("backend", backend, BACKENDS)
    require_one_of("reverse", reverse, (False, True))
    dtype = accumulation_dtype(a.dtype, b.dtype)
    state_shape = (*b.shape[:-2], b.shape[-1])
    if h0 is None:
        h0 = jnp.zeros(state_shape, dtype)
    else:
        h0 = jnp.asarray(h0)
        require_inexact(h0=h0)
        require_shape("h0", h0, state_shape, "the shape of b without time")
        h0 = h0.astype(accumulation_dtype(dtype, h0.dtype))
    if jnp.iscomplexobj(h0) and not jnp.iscomplexobj(b):
        b = b.astype(accumulation_dtype(b.dtype, jnp.complex64))
    if b.size == 0:
        return b
    a, b, h0, reset = match_varying((a, b, h0, reset))
    a = a.reshape(*[1] * (b.ndim - a.ndim), *a.shape)
    reset = None if reset is None else jnp.expand_dims(reset, -1)
    with explain_forward_mode():
        return scan_with_last_state(a, b, h0, reset, reverse=reverse, backend=backend)[0]


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
    da, db, dh0 = _vjp(a, h, h0, dh.astype(dlast.dtype), dlast, reset, reverse, backend)
    return da, db.astype(dh.dtype), dh0, None


@partial(jax.custom_vjp, nondiff_argnums=(6, 7))
def _vjp(a, h, h0, dh, dlast, reset, reverse, backend):
    """The cotangents of `_scan`'s a, b and h0, a function with a derivative of its own."""
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
    return _decay_cotangent(a, h, h0, g, reset, reverse), g, dh0


def _constant_decay_vjp(a, *operands, reverse):
    da, g, dh0 = sequential.constant_decay_vjp(a, *operands, reverse=reverse)
    return _sum_like(a, da), g, dh0


def _vjp_forward(*operands_and_options):
    return _vjp(*operands_and_options), as_residual(operands_and_options[:6])


def _vjp_backward(reverse, backend, operands, cotangents):
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
    return _decay_cotangent(a, v, ddh0, g, reset, reverse), v.astype(dg.dtype), last, None


def _decay_cotangent(a, h, h0, g, reset, reverse):
    """The cotangent of `a`: the state before a step times the cotangent of the state after it."""
    return _sum_like(a, carry_term(g.astype(h0.dtype), shift_states(h, h0, reverse), reset))


def _sum_like(a, da):
    """Returns `da` in the shape and dtype of `a`: summed if `a` is constant, real if `a` is."""
    if da.shape != a.shape:
        da = da.reshape(-1, da.shape[-1]).sum(0).reshape(a.shape)
    return (da if jnp.iscomplexobj(a) else jnp.real(da)).astype(a.dtype)


_scan.defvjp(_scan_forward, _scan_backward)
_vjp.defvjp(_vjp_forward, _vjp_backward)
_transposed_scan.defvjp(_transposed_scan_forward, _transposed_scan_backward)
