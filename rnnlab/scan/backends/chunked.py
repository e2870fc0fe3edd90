"""The gated recurrence on a CPU, a block of steps at a time.

The gates of a block are one elementwise program, which XLA spreads over cores and vector lanes;
its steps are then the sequential loop. A block's arrays stay in the cache between the two, so that
memory sees each pre-activation once forward and once backward, and no coefficient at all. Whole
sequences in place of blocks would store the coefficients; single steps are too little work to
spread, and took 1.1 to 1.9 times as long backward at the shapes of docs/scan.md.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

from rnnlab.scan.affine import Gates
from rnnlab.scan.backends import sequential, unfused

STEPS = 16
"""Steps in a block; what they leave over is a shorter one."""


def gated(
    gates: Gates,
    pre: Sequence[Array],
    h0: Array,
    init: Array,
    reset: Array | None,
    mask: Array | None,
    *,
    reverse: bool,
) -> tuple[Array, Array]:
    """`unfused.gated` by blocks. `h` takes the place of the last pre-activation."""
    *others, final = pre
    length = final.shape[-2]

    def block(start, steps, carry):
        state, h = carry
        parts = [_part(x, start, steps) for x in (*others, h)]
        flags = _part(reset, start, steps), _part(mask, start, steps)
        part, state = unfused.gated(
            sequential.linear, gates, parts, state, init, *flags, reverse=reverse
        )
        return state, _put(h, part, start)

    last, h = _over_blocks(block, length, (h0, final), backwards=reverse)
    return h, last


def gated_transpose(
    gates: Gates,
    pre: Sequence[Array],
    h0: Array,
    init: Array,
    reset: Array | None,
    mask: Array | None,
    h: Array,
    dh: Array,
    dlast: Array,
    *,
    reverse: bool,
) -> tuple[tuple[Array, ...], Array, Array]:
    """`unfused.gated_transpose` by blocks, against the recurrence's direction."""
    length = h.shape[-2]

    def block(start, steps, carry):
        g, dinit, dpre = carry
        # The state that the block started from: its neighbour in `h`, or h0 at the end.
        edge, at_end = (
            (start + steps, start + steps == length) if reverse else (start - 1, start == 0)
        )
        neighbour = _part(h, jnp.clip(edge, 0, length - 1), 1)[..., 0, :].astype(h0.dtype)
        dparts, g, more = unfused.gated_transpose(
            sequential.transpose,
            gates,
            [_part(x, start, steps) for x in pre],
            jnp.where(at_end, h0, neighbour),
            init,
            _part(reset, start, steps),
            _part(mask, start, steps),
            _part(h, start, steps),
            _part(dh, start, steps),
            g,
            reverse=reverse,
        )
        dpre = tuple(_put(x, part, start) for x, part in zip(dpre, dparts, strict=True))
        return g, dinit + more, dpre

    # Equal fill values would be one constant to XLA, which it then copies for every further buffer.
    empty = tuple(lax.full_like(x, k) for k, x in enumerate(pre))
    carry = dlast, jnp.zeros_like(init), empty
    dh0, dinit, dpre = _over_blocks(block, length, carry, backwards=not reverse)
    return dpre, dh0, dinit


def _over_blocks(block, length, carry, *, backwards):
    """Folds `block(start, steps, carry)` over whole blocks, then over the rest at the far end."""
    count, rest = divmod(length, STEPS)

    def body(i, carry):
        start = length - STEPS * (i + 1) if backwards else STEPS * i
        return block(start, STEPS, carry)

    if count:
        carry = lax.fori_loop(0, count, body, carry)
    if rest:
        carry = block(0 if backwards else length - rest, rest, carry)
    return carry


def _part(x: Array | None, start: Array | int, steps: int) -> Array | None:
    if x is None:
        return None
    return lax.dynamic_slice_in_dim(x, start, steps, x.ndim - 2, allow_negative_indices=False)


def _put(x: Array, part: Array, start: Array | int) -> Array:
    starts = (0,) * (x.ndim - 2) + (start, 0)
    return lax.dynamic_update_slice(x, part, starts, allow_negative_indices=False)
