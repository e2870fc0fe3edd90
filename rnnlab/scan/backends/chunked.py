"""The gated recurrence on a CPU, one chunk of time steps at a time.

The coefficients of a chunk are one elementwise program, which XLA spreads over cores and vector
lanes; the sequential loop over the chunk's steps follows. The arrays of a chunk stay in the cache
between the two, so memory sees each pre-activation once forward and once backward, and no
coefficient at all. Coefficients of the whole sequence would have to be stored. Those of single
steps are too little work to spread over cores: they took 1.1 to 1.9 times as long backward at the
shapes of docs/scan.md.

The symbolic length of an exported program has no chunks: it takes the unfused form.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

from rnnlab.scan.affine import CoefficientFn, GatedOperands
from rnnlab.scan.backends import sequential, unfused

CHUNK_STEPS = 16
"""Time steps per chunk; the remaining steps form a shorter one."""


def gated_scan(
    coefficients: CoefficientFn, operands: GatedOperands, *, reverse: bool
) -> tuple[Array, Array]:
    """Computes `unfused.gated_scan` by chunks. `h` overwrites the last pre-activation."""
    *others, final = operands.preactivations
    length = final.shape[-2]
    if not isinstance(length, int):
        return unfused.gated_scan(sequential.scan, coefficients, operands, reverse=reverse)

    def chunk(start, steps, carry):
        state, h = carry
        part = _chunk_operands(operands, start, steps)._replace(
            preactivations=tuple(slice_time(x, start, steps) for x in (*others, h)), h0=state
        )
        h_part, state = unfused.gated_scan(sequential.scan, coefficients, part, reverse=reverse)
        return state, _update_time(h, h_part, start)

    last, h = fold_chunks(chunk, length, (operands.h0, final), backwards=reverse)
    return h, last


def gated_vjp(
    coefficients: CoefficientFn,
    operands: GatedOperands,
    h: Array,
    dh: Array,
    dlast: Array,
    *,
    reverse: bool,
) -> GatedOperands:
    """Computes `unfused.gated_vjp` by chunks, against the direction of the recurrence."""
    length, h0 = h.shape[-2], operands.h0
    if not isinstance(length, int):
        return unfused.gated_vjp(
            sequential.transposed_scan, coefficients, operands, h, dh, dlast, reverse=reverse
        )

    def chunk(start, steps, carry):
        g, sums, dpreactivations = carry
        # The state before the chunk: its neighbor in `h`, or h0 at the end of the sequence.
        before, is_first = (
            (start + steps, start + steps == length) if reverse else (start - 1, start == 0)
        )
        neighbor = slice_time(h, jnp.clip(before, 0, length - 1), 1)[..., 0, :].astype(h0.dtype)
        part = _chunk_operands(operands, start, steps)._replace(
            h0=jnp.where(is_first, h0, neighbor)
        )
        cotangents = unfused.gated_vjp(
            sequential.transposed_scan,
            coefficients,
            part,
            slice_time(h, start, steps),
            slice_time(dh, start, steps),
            g,
            reverse=reverse,
        )
        sums = jax.tree.map(jnp.add, sums, (cotangents.params, cotangents.reset_state))
        dpreactivations = tuple(
            _update_time(x, part, start)
            for x, part in zip(dpreactivations, cotangents.preactivations, strict=True)
        )
        return cotangents.h0, sums, dpreactivations

    # Equal fill values would be one constant to XLA, which it then copies for every further buffer.
    buffers = tuple(lax.full_like(x, k) for k, x in enumerate(operands.preactivations))
    sums = jax.tree.map(jnp.zeros_like, (operands.params, operands.reset_state))
    dh0, (dparams, dreset_state), dpreactivations = fold_chunks(
        chunk, length, (dlast, sums, buffers), backwards=not reverse
    )
    return GatedOperands(dpreactivations, dparams, dh0, dreset_state)


def _chunk_operands(operands: GatedOperands, start: Array | int, steps: int) -> GatedOperands:
    """Returns the operands of one chunk; those that are constant in time are whole."""
    return operands._replace(
        preactivations=tuple(slice_time(x, start, steps) for x in operands.preactivations),
        reset=slice_time(operands.reset, start, steps),
        mask=slice_time(operands.mask, start, steps),
    )


def fold_chunks(chunk, length, carry, *, backwards):
    """Folds `chunk(start, steps, carry)` over whole chunks, then over the shorter one."""
    count, rest = divmod(length, CHUNK_STEPS)

    def body(i, carry):
        start = length - CHUNK_STEPS * (i + 1) if backwards else CHUNK_STEPS * i
        return chunk(start, CHUNK_STEPS, carry)

    if count:
        carry = lax.fori_loop(0, count, body, carry)
    if rest:
        carry = chunk(0 if backwards else length - rest, rest, carry)
    return carry


def slice_time(x: Array | None, start: Array | int, steps: int) -> Array | None:
    if x is None:
        return None
    return lax.dynamic_slice_in_dim(x, start, steps, x.ndim - 2, allow_negative_indices=False)


def _update_time(x: Array, part: Array, start: Array | int) -> Array:
    starts = (0,) * (x.ndim - 2) + (start, 0)
    return lax.dynamic_update_slice(x, part, starts, allow_negative_indices=False)
