"""Scans with a matrix state by chunks of time steps."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from rnnlab.scan.isolation import isolated
from rnnlab.scan.matrix_operands import MatrixOperands

ChunkFn = Callable[..., tuple[Array, Array]]
"""`(state, *steps) -> (state, o)` of one chunk, in one dtype; steps of zeros keep the state."""


@partial(jax.jit, static_argnums=(0, 2))
def run_by_chunks(
    function: ChunkFn, operands: MatrixOperands, chunk: int | None
) -> tuple[Array, Array]:
    """Returns the outputs, time before heads, in the dtype of the values, and the last state.

    Args:
      function: computes one chunk, from the state before it.
      operands: as `matrix_operands` returns them.
      chunk: time steps per chunk; None is `default_chunk`.
    """
    q, written, state, reset, last_sign = operands
    values = written[1]
    time = q.shape[-2]
    # The symbolic length of an exported program has no chunks.
    chunk = (chunk or default_chunk(q.shape[-1], time)) if isinstance(time, int) else 1
    if values.size == 0 or q.size == 0:
        o, last = jnp.zeros_like(values), state
    else:
        o, last = isolated(partial(_fold, function, chunk), q, written, state, reset)
    if last_sign is not None and time != 0:
        last = last * jnp.broadcast_to(last_sign, last.shape)
    return jnp.swapaxes(o, -2, -3).astype(values.dtype), last


def _fold(
    function: ChunkFn, chunk: int, q: Array, written: tuple[Array, ...], state: Array
) -> tuple[Array, Array]:
    """Folds a function over chunks. Only the state before each is kept for the gradient."""
    time = q.shape[-2]
    count = -(-time // chunk)

    def by_chunk(x):
        padding = [(0, 0)] * (x.ndim - 2) + [(0, count * chunk - time), (0, 0)]
        x = jnp.pad(x, padding) if time != count * chunk else x
        return jnp.moveaxis(x.reshape(*x.shape[:-2], count, chunk, x.shape[-1]), -3, 0)

    @partial(jax.checkpoint, prevent_cse=False)
    def body(state, steps):
        return function(state, *(x.astype(state.dtype) for x in steps))

    last, o = lax.scan(body, state, tuple(by_chunk(x) for x in (q, *written)))
    o = jnp.moveaxis(o, 0, -3)
    return o.reshape(*o.shape[:-3], count * chunk, o.shape[-1])[..., :time, :], last


def default_chunk(key_features: int, time: int) -> int:
    """Returns the time steps per chunk: a power of 2 near half of the key features, 16 to 64.

    It is not larger than the next power of 2 of `time`.

    >>> default_chunk(32, 1000), default_chunk(64, 1000), default_chunk(256, 1000)
    (16, 32, 64)
    >>> default_chunk(32, 3)
    4
    """
    largest = 1 << max(time - 1, 0).bit_length()
    return min(max(16, 1 << max(key_features // 2, 1).bit_length() - 1), 64, largest)


def require_chunk(chunk: Any) -> None:
    """Raises ValueError unless a chunk is None or a power of 2."""
    if chunk is not None and (
        isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1 or chunk & (chunk - 1)
    ):
        raise ValueError(f"chunk must be a power of 2 or None, got {chunk!r}; pass 16, 32 or 64")
