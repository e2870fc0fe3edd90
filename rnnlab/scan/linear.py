"""The linear recurrence `h[t] = a[t] * h[t-1] + b[t]`, its backends and its gradient.

With A the matrix that `h = A^-1 (b + a[0] h0)` inverts, the cotangents of `b` are A^-T times those
of `h`: the same recurrence against time (Martin and Cundy, "Parallelizing Linear Recurrent Neural
Nets Over Sequence Length", arXiv 1709.04057, section 2.2). `_linear` and `_transpose` are that
pair. Each is the other's transpose, so each is the other's gradient rule and derivatives of any
order follow. Only the coefficients and one solution are kept for the backward pass.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from rnnlab.scan.affine import accumulation_dtype, carry_term
from rnnlab.scan.backends import associative, sequential
from rnnlab.scan.backends.unfused import previous
from rnnlab.scan.pallas import ops
from rnnlab.validation import require_flags, require_floating, require_one_of, require_shape

BACKENDS = ("auto", "sequential", "associative", "pallas")
"""Names that `backend` may take."""


def linear_scan(
    a: Float[Array, "*batch time features"],
    b: Float[Array, "*batch time features"],
    h0: Float[Array, "*batch features"] | None = None,
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    reverse: bool = False,
    backend: str = "auto",
) -> Float[Array, "*batch time features"]:
    """Solves `h[t] = a[t] * h[t-1] + b[t]` along the second-last axis.

    Args:
      a: decay of the state at each step. It is ignored where `reset`.
      b: input to the state, of `a`'s shape.
      h0: state before the first step; None is zeros.
      reset: where True, the state is cleared before that step's input is added, by `where`: nothing
        from before reaches anything after, NaN included, neither forward nor in the gradient.
      reverse: runs from the last step to the first, `h[t] = a[t] * h[t+1] + b[t]`; `h0` then comes
        after the last step and `reset[t]` clears what comes from `t + 1`.
      backend: `"sequential"` is one loop over time, `"associative"` is
        `jax.lax.associative_scan`, in which the product of `a` over any span has to stay finite, as
        it does for gates; `"auto"` takes the first on CPU and the second elsewhere,
        by the platform that the program is lowered for. `"pallas"` is a kernel for GPUs from
        compute capability 9.0 on and for TPUs, float32 and 16-bit, and what `"auto"` takes
        everywhere else: `rnnlab.scan.resolved` says which one runs. docs/scan.md has the
        measurements.

    Returns:
      All states, in b's dtype. Arithmetic is float32 or, if an argument has it, float64.

    The gradient (reverse mode, of any order) is the recurrence run the other way and keeps `a` and
    `h` only. Forward mode is not defined: `jax.jvp` and `jax.jacfwd` raise TypeError.

    Raises:
      ValueError: shapes differ, a dtype is not real floating (`reset`: not bool), or the backend
        is unknown.

    Source: arXiv 1709.04057, section 2.2.

    >>> import jax.numpy as jnp
    >>> a, b = jnp.full((3, 1), 0.5), jnp.ones((3, 1))
    >>> print(linear_scan(a, b)[:, 0])
    [1.   1.5  1.75]
    >>> print(linear_scan(a, b, reset=jnp.array([False, True, False]))[:, 0])
    [1.  1.  1.5]
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    reset = None if reset is None else jnp.asarray(reset)
    require_floating(a=a, b=b)
    if b.ndim < 2:
        raise ValueError(f"b has shape {b.shape}; (*batch, time, features) is needed")
    require_shape("a", a, b.shape, "the shape of b")
    require_flags(b.shape[:-1], "the shape of b without its features", reset=reset)
    require_one_of("backend", backend, BACKENDS)
    require_one_of("reverse", reverse, (False, True))
    dtype = accumulation_dtype(a.dtype, b.dtype)
    state_shape = (*b.shape[:-2], b.shape[-1])
    if h0 is None:
        h0 = jnp.zeros(state_shape, dtype)
    else:
        h0 = jnp.asarray(h0)
        require_floating(h0=h0)
        require_shape("h0", h0, state_shape, "the shape of b without its time")
        h0 = h0.astype(accumulation_dtype(dtype, h0.dtype))
    if b.size == 0:
        return b
    cut = None if reset is None else jnp.expand_dims(reset, -1)
    return linear(a, b, h0, cut, reverse=reverse, backend=backend)[0]


def resolved(backend: str, platform: str, dtype: DTypeLike = jnp.float32) -> str:
    """The backend that runs on a platform ("cpu", "gpu", "tpu") when `backend` is asked for.

    `dtype` is that of the states.

    >>> resolved("auto", "cpu"), resolved("pallas", "cpu"), resolved("pallas", "tpu", "float64")
    ('sequential', 'sequential', 'associative')
    """
    platform = "cuda" if platform == "gpu" else platform
    if backend == "pallas" and platform in ops.kernels(dtype):
        return backend
    if backend in ("auto", "pallas"):
        return "sequential" if platform == "cpu" else "associative"
    return backend


@partial(jax.jit, static_argnames=("reverse", "backend"))
def linear(
    a: Array, b: Array, h0: Array, cut: Array | None, *, reverse: bool, backend: str
) -> tuple[Array, Array]:
    """`linear_scan` for checked arguments, with the last state in h0's dtype beside all of them."""
    return _linear(a, b, h0, cut, reverse, backend)


@partial(jax.jit, static_argnames=("reverse", "backend"))
def transpose(
    a: Array, dh: Array, dlast: Array, cut: Array | None, *, reverse: bool, backend: str
) -> tuple[Array, Array]:
    """Cotangents of `linear`'s b and h0, from those of its two results."""
    return _transpose(a, dh, dlast, cut, reverse, backend)


def on_backend(
    backend: str,
    dtype: DTypeLike,
    operands: Sequence[Any],
    *,
    loop: Callable[..., Any],
    at_once: Callable[..., Any],
    kernel: Callable[..., Any],
) -> Any:
    """One of three forms of an operation on `operands`: the backend's, or the lowering platform's.

    `loop` is the sequential one, `at_once` the associative one, and `kernel` takes the platform's
    `ops.Kernel` first. `dtype` is that of the states.
    """
    if backend == "sequential":
        return loop(*operands)
    if backend == "associative":
        return at_once(*operands)
    kernels = ops.kernels(dtype) if backend == "pallas" else {}
    forms = {platform: partial(kernel, found) for platform, found in kernels.items()}
    return lax.platform_dependent(*operands, default=at_once, **{"cpu": loop, **forms})


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _linear(a, b, h0, cut, reverse, backend):
    return on_backend(
        backend,
        h0.dtype,
        (a, b, h0, cut),
        loop=partial(sequential.linear, reverse=reverse),
        at_once=partial(associative.linear, reverse=reverse),
        kernel=partial(ops.linear, reverse=reverse),
    )


def _linear_forward(a, b, h0, cut, reverse, backend):
    h, last = _linear(a, b, h0, cut, reverse, backend)
    return (h, last), (a, h, h0, cut)


def _linear_backward(reverse, backend, residuals, cotangents):
    a, h, h0, cut = residuals
    dh, dlast = cotangents
    # Widened, so that a 16-bit g neither overflows nor rounds before it is multiplied by h.
    da, db, dh0 = _pullback(a, h, h0, dh.astype(dlast.dtype), dlast, cut, reverse, backend)
    return da, db.astype(dh.dtype), dh0, None


@partial(jax.custom_vjp, nondiff_argnums=(6, 7))
def _pullback(a, h, h0, dh, dlast, cut, reverse, backend):
    """Cotangents of `_linear`'s a, b and h0."""
    return on_backend(
        backend,
        dlast.dtype,
        (a, h, h0, dh, dlast, cut),
        loop=partial(_composed_pullback, sequential.transpose, reverse=reverse),
        at_once=partial(_composed_pullback, associative.transpose, reverse=reverse),
        kernel=partial(ops.pullback, reverse=reverse),
    )


def _composed_pullback(transpose, a, h, h0, dh, dlast, cut, *, reverse):
    g, dh0 = transpose(a, dh, dlast, cut, reverse=reverse)
    return _decay_cotangent(a, h, h0, g, cut, reverse), g, dh0


def _pullback_forward(*operands_and_options):
    return _pullback(*operands_and_options), operands_and_options[:6]


def _pullback_backward(reverse, backend, operands, cotangents):
    *operands, cut = operands
    differentiable = partial(transpose, backend=backend)

    def composed(*operands):
        return _composed_pullback(differentiable, *operands, cut, reverse=reverse)

    return *jax.vjp(composed, *operands)[1](cotangents), None


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _transpose(a, dh, dlast, cut, reverse, backend):
    return on_backend(
        backend,
        dlast.dtype,
        (a, dh, dlast, cut),
        loop=partial(sequential.transpose, reverse=reverse),
        at_once=partial(associative.transpose, reverse=reverse),
        kernel=partial(ops.transpose, reverse=reverse),
    )


def _transpose_forward(a, dh, dlast, cut, reverse, backend):
    g, dh0 = _transpose(a, dh, dlast, cut, reverse, backend)
    return (g, dh0), (a, g, cut)


def _transpose_backward(reverse, backend, residuals, cotangents):
    a, g, cut = residuals
    dg, ddh0 = cotangents
    v, last = _linear(a, dg.astype(ddh0.dtype), ddh0, cut, reverse, backend)
    return _decay_cotangent(a, v, ddh0, g, cut, reverse), v.astype(dg.dtype), last, None


def _decay_cotangent(a, h, h0, g, cut, reverse):
    """The cotangent of `a`: the state before a step times the cotangent of the state after it."""
    return carry_term(g.astype(h0.dtype), previous(h, h0, reverse), cut).astype(a.dtype)


_linear.defvjp(_linear_forward, _linear_backward)
_pullback.defvjp(_pullback_forward, _pullback_backward)
_transpose.defvjp(_transpose_forward, _transpose_backward)
