"""The linear recurrence `h[t] = a[t] * h[t-1] + b[t]`.

Its gradient is the recurrence run against time, see `rnnlab.scan.primitives`. Only the coefficients
and one solution are kept for the backward pass.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Inexact

from rnnlab.dtypes import accumulation_dtype
from rnnlab.errors import explain_forward_mode
from rnnlab.scan.dispatch import BACKENDS
from rnnlab.scan.primitives import scan_with_last_state
from rnnlab.scan.sequence_parallel import Cut, cut_scan
from rnnlab.scan.time_shards import time_axis
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
    axis = time_axis(b, reset, a if a.shape == b.shape else None)
    a = a.reshape(*[1] * (b.ndim - a.ndim), *a.shape)
    reset = None if reset is None else jnp.expand_dims(reset, -1)
    operands = match_varying((a, b, h0, reset))
    with explain_forward_mode():
        if axis is not None:
            return cut_scan(*operands, Cut(axis, reverse, backend)).h
        return scan_with_last_state(*operands, reverse=reverse, backend=backend)[0]
