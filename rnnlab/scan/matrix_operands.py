"""Arguments of scans whose state is a matrix: their checks, and the layout of the computation."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from rnnlab.dtypes import accumulation_dtype
from rnnlab.scan.time_shards import time_axis
from rnnlab.scan.varying import match_varying
from rnnlab.validation import require_flags, require_floating, require_shape


class MatrixOperands(NamedTuple):
    """The operands of a scan with flags applied, heads before time.

    Attributes:
      q: queries, (*batch, heads, time, key_features).
      written: what the state depends on, arrays (*batch, heads, time, features): keys, values,
        further arrays, and last the log decays, of one feature or those of the keys, which are
        minus infinity at a reset.
      state: the state before the first step, (*batch, heads, key_features, value_features).
      reset: where the state is cleared before the step, (*batch, heads, time).
      last_sign: factors of the last state, (*batch, heads, 1 or key_features, 1), or None.
    """

    q: Array
    written: tuple[Array, ...]
    state: Array
    reset: Array
    last_sign: Array | None


def matrix_operands(
    q: Array,
    k: Array,
    v: Array,
    log_decay: Array,
    s0: Array | None,
    *,
    sign: Array | None,
    reset: Array | None,
    mask: Array | None,
    others: dict[str, Array],
) -> MatrixOperands:
    """Checks the arguments of a scan and lays them out.

    Args:
      q, k, v, log_decay, s0, sign, reset, mask: as in `rnnlab.scan.matrix_scan`.
      others: further arrays of the shape of q, or of it without features, which a mask sets to 0.

    Raises:
      ValueError: shapes differ, a dtype is wrong, or the time axis is cut over devices.
    """
    require_floating(q=q, k=k, v=v, log_decay=log_decay, **others)
    if q.ndim < 3:
        raise ValueError(
            f"q must have shape (*batch, time, heads, key_features), got {q.shape}; add the "
            "missing axes"
        )
    steps = q.shape[:-1]
    require_shape("k", k, q.shape, "the shape of q")
    if v.ndim < 1 or v.shape[:-1] != steps:
        require_shape("v", v, (*steps, "value_features"), "the shape of q, of any features")
    for name, x in {"log_decay": log_decay, **others}.items():
        if x.shape != steps:
            require_shape(name, x, q.shape, "the shape of q, or that without features")
    dtype = accumulation_dtype(q.dtype, k.dtype, v.dtype, log_decay.dtype)
    state_shape = (*steps[:-2], steps[-1], q.shape[-1], v.shape[-1])
    if s0 is not None:
        require_floating(s0=s0)
        require_shape("s0", s0, state_shape, "(*batch, heads, key_features, value_features)")
        dtype = accumulation_dtype(dtype, s0.dtype)
    if sign is not None:
        require_floating(sign=sign)
        require_shape("sign", sign, log_decay.shape, "the shape of log_decay")
    require_flags(steps[:-1], "that of q without heads and features", reset=reset, mask=mask)
    axis = time_axis(q, k, v, log_decay, *others.values(), sign, reset, mask)
    if axis is not None and lax.axis_size(axis) > 1:
        raise ValueError(
            f"time must be whole on each device in a scan of matrix states, got parts on the "
            f"{lax.axis_size(axis)} devices of the mesh axis {axis!r}; cut the batch instead"
        )
    state = jnp.zeros(state_shape, dtype) if s0 is None else jnp.asarray(s0, dtype)
    q, written, state, sign, reset, mask = match_varying(
        (q, (k, v, *others.values(), log_decay), state, sign, reset, mask)
    )
    return _laid_out(q, written, state, sign, reset, mask)


def _laid_out(q, written, state, sign, reset, mask) -> MatrixOperands:
    q, *written = (_heads_first(x, q.ndim) for x in (q, *written))
    sign = None if sign is None else lax.stop_gradient(_heads_first(sign, q.ndim))
    heads = q.shape[:-1]
    reset, mask = (
        None if x is None else jnp.broadcast_to(x[..., None, :], heads) for x in (reset, mask)
    )
    *written, log_decay = written
    log_decay = log_decay.astype(state.dtype)
    if mask is not None:
        q, log_decay, *written = (
            jnp.where(mask[..., None], x, 0) for x in (q, log_decay, *written)
        )
        sign = None if sign is None else jnp.where(mask[..., None], sign, 1)
    last_sign = None
    if sign is not None:
        # With s the product of the signs so far, s S follows the recurrence with decays |d|.
        sign = lax.cumprod(sign, sign.ndim - 2)
        last_sign = jnp.swapaxes(sign[..., -1:, :], -1, -2).astype(state.dtype)
        q, key = q * sign.astype(q.dtype), written[0] * sign.astype(written[0].dtype)
        written = [key, *written[1:]]
    if reset is None:
        reset = jnp.zeros_like(log_decay[..., 0], bool)
    log_decay = jnp.where(reset[..., None], -jnp.inf, log_decay)
    return MatrixOperands(q, (*written, log_decay), state, reset, last_sign)


def _heads_first(x: Array, rank: int) -> Array:
    """Returns (*batch, heads, time, features) of (*batch, time, heads, features or none)."""
    x = x if x.ndim == rank else x[..., None]
    return jnp.swapaxes(x, -2, -3)
