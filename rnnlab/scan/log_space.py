"""The recurrence in log space, for positive terms: `log h` from `log a` and `log b`.

`log_linear_scan` composes pairs of logarithms and stays accurate at any length. `heinsen_scan` is
the published form of the minimal cells' parallel mode, for comparison only: it subtracts two sums
that grow with time, and loses precision as they grow. docs/scan.md has the errors of both.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float

from rnnlab.dtypes import accumulation_dtype
from rnnlab.errors import explain_forward_mode
from rnnlab.scan.backends.associative import scan_elements
from rnnlab.scan.backends.unfused import shift_states
from rnnlab.scan.composition import compose_all
from rnnlab.scan.primitives import transposed_scan
from rnnlab.scan.sequence_parallel import Cut, cut_transposed_scan, enter
from rnnlab.scan.time_shards import time_axis
from rnnlab.scan.varying import match_varying
from rnnlab.validation import require_flags, require_floating, require_shape


def log_linear_scan(
    log_a: Float[Array, "*batch time features"],
    log_b: Float[Array, "*batch time features"],
    log_h0: Float[Array, "*batch features"] | None = None,
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    reverse: bool = False,
) -> Float[Array, "*batch time features"]:
    """Solves `log h[t] = logaddexp(log a[t] + log h[t-1], log b[t])` by an associative scan.

    Args:
      log_a, log_b: logarithms of the decay and of the input, of one shape; -inf stands for 0.
      log_h0: logarithm of the state before the first step; None is -inf, a state of zeros.
      reset, reverse: as in `linear_scan`.

    Returns:
      The logarithms of all states, in log_b's dtype; 16-bit inputs are computed in float32.

    The gradient is a linear recurrence in real space: with `share[t] = a[t] h[t-1] / h[t]`, in
    [0, 1], the cotangents are `g[t] = dlog_h[t] + share[t+1] * g[t+1]`, and 0 where `h` is 0.

    Raises:
      ValueError: shapes differ, or a dtype is not real floating (`reset`: not bool).

    Source: arXiv 2410.01201, appendix B, with pairs instead of cumulative sums.

    >>> import jax.numpy as jnp
    >>> half, one = jnp.log(jnp.full((3, 1), 0.5)), jnp.zeros((3, 1))
    >>> print(jnp.exp(log_linear_scan(half, one))[:, 0])
    [1.   1.5  1.75]
    """
    log_a, log_b, log_h0 = _validate(log_a, log_b, log_h0)
    require_flags(log_b.shape[:-1], "the shape of log_b without features", reset=reset)
    if log_b.size == 0:
        return log_b
    axis = time_axis(log_a, log_b, reset)
    reset = None if reset is None else jnp.expand_dims(reset, -1)
    log_a, log_b, log_h0, reset = match_varying((log_a, log_b, log_h0, reset))
    dtype = log_h0.dtype
    operands = log_a.astype(dtype), log_b.astype(dtype), log_h0, reset
    with explain_forward_mode():
        if axis is None:
            log_h = _jitted(*operands, reverse)
        else:
            log_h = _cut_jitted(*operands, Cut(axis, reverse, "auto"))[0]
    return log_h.astype(log_b.dtype)


def heinsen_scan(
    log_a: Float[Array, "*batch time features"],
    log_b: Float[Array, "*batch time features"],
    log_h0: Float[Array, "*batch features"] | None = None,
) -> Float[Array, "*batch time features"]:
    """Solves it in the published form: `log h = s + logcumsumexp(log b - s)`, `s = cumsum(log a)`.

    For comparison only: its error grows with the length, it has no resets, and it is NaN after a
    decay of 0. Arguments, result and errors are those of `log_linear_scan`.

    Source: Heinsen, "Efficient Parallelization of a Ubiquitous Sequential Computation", arXiv
    2311.06281; arXiv 2410.01201, appendix B, listing 3.

    >>> import jax.numpy as jnp
    >>> half, one = jnp.log(jnp.full((3, 1), 0.5)), jnp.zeros((3, 1))
    >>> print(jnp.exp(heinsen_scan(half, one))[:, 0].round(4))
    [1.   1.5  1.75]
    """
    log_a, log_b, log_h0 = _validate(log_a, log_b, log_h0)
    if time_axis(log_a, log_b) is not None:
        raise ValueError(
            "log_b must hold all time steps for heinsen_scan, got a part of a time axis that is "
            "cut over devices; use log_linear_scan"
        )
    log_a, log_b, log_h0 = match_varying((log_a, log_b, log_h0))
    axis = log_b.ndim - 2
    log_s = lax.cumsum(log_a.astype(log_h0.dtype), axis)
    start = jnp.expand_dims(log_h0, -2)
    terms = jnp.concatenate([start, log_b.astype(log_h0.dtype) - log_s], axis)
    return (log_s + lax.cumlogsumexp(terms, axis)[..., 1:, :]).astype(log_b.dtype)


def _validate(log_a, log_b, log_h0):
    log_a, log_b = jnp.asarray(log_a), jnp.asarray(log_b)
    require_floating(log_a=log_a, log_b=log_b)
    if log_b.ndim < 2:
        raise ValueError(
            f"log_b must have shape (*batch, time, features), got {log_b.shape}; "
            "add the missing axes"
        )
    require_shape("log_a", log_a, log_b.shape, "the shape of log_b")
    dtype = accumulation_dtype(log_a.dtype, log_b.dtype)
    state_shape = (*log_b.shape[:-2], log_b.shape[-1])
    if log_h0 is None:
        return log_a, log_b, jnp.full(state_shape, -jnp.inf, dtype)
    require_floating(log_h0=log_h0)
    require_shape("log_h0", log_h0, state_shape, "the shape of log_b without time")
    return log_a, log_b, jnp.asarray(log_h0, accumulation_dtype(dtype, jnp.result_type(log_h0)))


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _log_linear(log_a, log_b, log_h0, reset, reverse):
    first = -1 if reverse else 0
    reset_first = None if reset is None else reset[..., first, :]
    start = _log_carry_term(log_a[..., first, :], log_h0, reset_first)
    log_b = log_b.at[..., first, :].set(jnp.logaddexp(start, log_b[..., first, :]))
    axis = log_b.ndim - 2
    if reset is None:
        return scan_elements(_compose, (log_a, log_b), reverse=reverse, axis=axis)[1]
    steps = log_a, log_b, reset
    return scan_elements(_compose_with_reset, steps, reverse=reverse, axis=axis)[1]


def _log_linear_forward(log_a, log_b, log_h0, reset, reverse):
    log_h = _log_linear(log_a, log_b, log_h0, reset, reverse)
    return log_h, (log_a, log_b, log_h0, reset, log_h)


def _log_linear_backward(reverse, residuals, dlog_h):
    *_, log_h0, reset, log_h = residuals
    share = _carried_share(residuals, reverse)
    g, dlog_h0 = transposed_scan(
        share, dlog_h, jnp.zeros_like(log_h0), reset, reverse=reverse, backend="auto"
    )
    return g * share, g * _ratio(residuals[1], log_h), dlog_h0, None


_log_linear.defvjp(_log_linear_forward, _log_linear_backward)
_jitted = jax.jit(_log_linear, static_argnums=4)


class LogMap(NamedTuple):
    """The map `log h -> logaddexp(a + log h, b)` of one or more steps; see `AffineMap`."""

    a: Array
    b: Array
    reset: Array | None = None

    def __call__(self, log_h: Array) -> Array:
        """Returns the state after the steps from the state before them."""
        return jnp.logaddexp(_log_carry_term(self.a, log_h, self.reset), self.b)

    def after(self, earlier: "LogMap") -> "LogMap":
        """Returns the map of the earlier steps and then these."""
        reset = None if self.reset is None else earlier.reset | self.reset
        return LogMap(_log_carry_term(self.a, earlier.a, self.reset), self(earlier.b), reset)

    @classmethod
    def identity(cls, state: Array, reset: Array | None) -> "LogMap":
        """Returns the map of no step."""
        return cls(jnp.zeros_like(state), jnp.full_like(state, -jnp.inf), reset)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _cut_log_linear(log_a, log_b, log_h0, reset, cut):
    """The states of a time axis that is cut over devices, and the state that enters this device."""
    steps = compose_all(
        LogMap.identity,
        lambda constants, *arrays: LogMap(*arrays),
        (log_a, log_b, reset),
        log_h0,
        cut.reverse,
        cut.backend,
    )
    first, _ = enter(steps, log_h0, cut)
    return _log_linear(log_a, log_b, first, reset, cut.reverse), first


def _cut_log_linear_forward(log_a, log_b, log_h0, reset, cut):
    log_h, first = _cut_log_linear(log_a, log_b, log_h0, reset, cut)
    return (log_h, first), (log_a, log_b, first, reset, log_h)


def _cut_log_linear_backward(cut, residuals, cotangents):
    *_, first, reset, log_h = residuals
    dlog_h, dfirst = cotangents
    share = _carried_share(residuals, cut.reverse)
    dlast = jnp.zeros_like(first)
    g, dlog_h0 = cut_transposed_scan(share, dlog_h, dlast, dfirst, reset, cut)
    return g * share, g * _ratio(residuals[1], log_h), dlog_h0, None


_cut_log_linear.defvjp(_cut_log_linear_forward, _cut_log_linear_backward)
_cut_jitted = jax.jit(_cut_log_linear, static_argnums=4)


def _carried_share(residuals, reverse):
    """Returns the share of each state that comes from the state before it, in [0, 1]."""
    log_a, _, log_h0, reset, log_h = residuals
    before = _log_carry_term(log_a, shift_states(log_h, log_h0, reverse), reset)
    return _ratio(before, log_h)


def _log_carry_term(log_a, log_h, reset):
    return log_a + log_h if reset is None else jnp.where(reset, -jnp.inf, log_a + log_h)


def _compose(earlier, later):
    log_a1, log_b1 = earlier
    log_a2, log_b2 = later
    return log_a1 + log_a2, jnp.logaddexp(log_a2 + log_b1, log_b2)


def _compose_with_reset(earlier, later):
    log_a1, log_b1, reset1 = earlier
    log_a2, log_b2, reset2 = later
    log_b = jnp.logaddexp(_log_carry_term(log_a2, log_b1, reset2), log_b2)
    return _log_carry_term(log_a2, log_a1, reset2), log_b, reset1 | reset2


def _ratio(log_x, log_y):
    """Returns x / y for 0 <= x <= y, and 0 where both are 0."""
    is_zero = log_y == -jnp.inf
    return jnp.where(is_zero, 0, jnp.exp(log_x - jnp.where(is_zero, 0, log_y)))
