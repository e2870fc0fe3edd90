"""The walk over time as one TPU kernel (Pallas, Mosaic TPU).

The grid's last axis is time and runs in order, so the carries stay in a scratch buffer from tile to
tile, while the next tiles are brought in and the last ones written back beside the arithmetic. A
tile's rows are unrolled, because a row's place within a register has to be known to the compiler.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from rnnlab.scan.affine import Step
from rnnlab.scan.backends.unfused import previous

FEATURES = 128
"""Lanes of a register, and features of a tile."""
STEPS = 16
"""Rows of a tile: the sublanes of a register of 16-bit numbers."""


def chunks(batch_size: int, length: int, features: int) -> int:
    """One: a TPU core walks one grid in order, so that splitting time gives it nothing to do."""
    return 1


def sweep(
    step: Step,
    rows: Sequence[Array],
    ahead: tuple[Array, Array] | None,
    flags: Array | None,
    carries: Sequence[Array],
    dtypes: Sequence[Any],
    *,
    backwards: bool,
    interpret: Any = False,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """See `rnnlab.scan.pallas.driver.Sweep`."""
    streamed = list(rows)
    if ahead is not None:
        # A tile and the row after it do not fit one block; a shifted copy does.
        streamed.append(previous(*ahead, reverse=not backwards).astype(ahead[0].dtype))
    given = [] if flags is None else [jnp.expand_dims(flags, -1)]
    batch_size, length, features = streamed[0].shape
    tiles = pl.cdiv(length, STEPS)

    def tile(sequence, block, k):
        return sequence, tiles - 1 - k if backwards else k, block

    def flag_tile(sequence, block, k):
        return sequence, tiles - 1 - k if backwards else k, 0

    stream = pl.BlockSpec((1, STEPS, FEATURES), tile)
    flag = pl.BlockSpec((1, STEPS, 1), flag_tile)
    state = pl.BlockSpec((1, 1, FEATURES), lambda sequence, block, k: (sequence, 0, block))
    counts = len(streamed), len(given), len(carries), len(dtypes)
    results = pl.pallas_call(
        partial(_walk, step, counts, len(rows), length, backwards),
        grid=(batch_size, features // FEATURES, tiles),
        in_specs=[stream] * counts[0] + [flag] * counts[1] + [state] * counts[2],
        out_specs=[stream] * counts[3] + [state] * counts[2],
        out_shape=[
            *(jax.ShapeDtypeStruct((batch_size, length, features), dtype) for dtype in dtypes),
            *(jax.ShapeDtypeStruct(carry.shape, carry.dtype) for carry in carries),
        ],
        scratch_shapes=[pltpu.VMEM((1, FEATURES), carry.dtype) for carry in carries],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary")
        ),
        interpret=interpret,
    )(*streamed, *given, *carries)
    return tuple(results[: len(dtypes)]), tuple(results[len(dtypes) :])


def _walk(step, counts, row_count, length, backwards, *refs):
    """The kernel. `refs` are the streams, flags and carries, the results, and the scratch."""
    refs = iter(refs)
    streams, flags, starts, outs, ends, states = (
        [next(refs) for _ in range(count)] for count in (*counts, counts[2], counts[2])
    )
    k, tiles = pl.program_id(2), pl.num_programs(2)
    first = (tiles - 1 - k if backwards else k) * STEPS

    @pl.when(k == 0)
    def _():
        for state, start in zip(states, starts, strict=True):
            state[...] = start[0]

    carry = tuple(state[...] for state in states)
    dtype = states[0].dtype
    rows = [stream[0].astype(dtype) for stream in streams]
    codes = flags[0][0] if flags else None
    written = [None] * STEPS
    for q in range(STEPS - 1, -1, -1) if backwards else range(STEPS):
        row = [x[q : q + 1] for x in rows]
        following = row[-1] if len(row) > row_count else None
        code = None if codes is None else codes[q : q + 1]
        new, written[q] = step(carry, row[:row_count], following, code)
        if length % STEPS:
            inside = first + q < length
            new = tuple(jnp.where(inside, x, y) for x, y in zip(new, carry, strict=True))
        carry = new
    for out, tile in zip(outs, zip(*written, strict=True), strict=True):
        out[0] = lax.concatenate([row.astype(dtype) for row in tile], 0).astype(out.dtype)
    for state, value in zip(states, carry, strict=True):
        state[...] = value

    @pl.when(k == tiles - 1)
    def _():
        for end, value in zip(ends, carry, strict=True):
            end[0] = value
