"""The scan over time as one TPU kernel (Pallas, Mosaic TPU).

The last axis of the grid is time and runs in order, so the carries stay in a scratch buffer from
tile to tile, while the next tiles are loaded and the previous ones stored in parallel with the
arithmetic. The time steps of a tile are unrolled, because the compiler has to know the position of
each within a register.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from rnnlab.scan.backends.unfused import shift_states
from rnnlab.scan.pallas.driver import StepFn

BLOCK_FEATURES = 128
"""Features per tile: the lanes of a register."""
TILE_STEPS = 16
"""Time steps per tile: the sublanes of a register of 16-bit numbers."""


def num_time_chunks(batch_size: int, length: int, features: int) -> int:
    """Returns 1: a TPU core runs one grid in order, so it gains nothing from splitting time."""
    return 1


def scan_kernel(
    step: StepFn,
    inputs: Sequence[Array],
    lookahead: tuple[Array, Array] | None,
    flags: Array | None,
    carries: Sequence[Array],
    dtypes: Sequence[Any],
    *,
    reverse: bool,
    interpret: Any = False,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """See `rnnlab.scan.pallas.driver.KernelFn`."""
    num_inputs, inputs = len(inputs), list(inputs)
    if lookahead is not None:
        # A tile and the time step after it do not fit one block; a shifted copy does.
        inputs.append(shift_states(*lookahead, reverse=not reverse).astype(lookahead[0].dtype))
    flag_arrays = [] if flags is None else [jnp.expand_dims(flags, -1)]
    batch_size, length, features = inputs[0].shape
    tiles = pl.cdiv(length, TILE_STEPS)

    def tile(sequence, block, k):
        return sequence, tiles - 1 - k if reverse else k, block

    def flag_tile(sequence, block, k):
        return sequence, tiles - 1 - k if reverse else k, 0

    data_spec = pl.BlockSpec((1, TILE_STEPS, BLOCK_FEATURES), tile)
    flag_spec = pl.BlockSpec((1, TILE_STEPS, 1), flag_tile)
    carry_spec = pl.BlockSpec(
        (1, 1, BLOCK_FEATURES), lambda sequence, block, k: (sequence, 0, block)
    )
    counts = len(inputs), len(flag_arrays), len(carries), len(dtypes)
    results = pl.pallas_call(
        partial(_kernel_body, step, counts, num_inputs, length, reverse),
        grid=(batch_size, features // BLOCK_FEATURES, tiles),
        in_specs=[data_spec] * counts[0] + [flag_spec] * counts[1] + [carry_spec] * counts[2],
        out_specs=[data_spec] * counts[3] + [carry_spec] * counts[2],
        out_shape=[
            *(jax.ShapeDtypeStruct((batch_size, length, features), dtype) for dtype in dtypes),
            *(jax.ShapeDtypeStruct(carry.shape, carry.dtype) for carry in carries),
        ],
        scratch_shapes=[pltpu.VMEM((1, BLOCK_FEATURES), carry.dtype) for carry in carries],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary")
        ),
        interpret=interpret,
    )(*inputs, *flag_arrays, *carries)
    return tuple(results[: len(dtypes)]), tuple(results[len(dtypes) :])


def _kernel_body(step, counts, num_inputs, length, reverse, *refs):
    """Runs per tile. `refs` are the inputs, flags, carries, the results, and the scratch.

    The lookahead array, if there is one, is the last of the inputs.
    """
    refs = iter(refs)
    inputs, flags, starts, outputs, ends, states = (
        [next(refs) for _ in range(count)] for count in (*counts, counts[2], counts[2])
    )
    k, tiles = pl.program_id(2), pl.num_programs(2)
    first = (tiles - 1 - k if reverse else k) * TILE_STEPS

    @pl.when(k == 0)
    def _():
        for state, start in zip(states, starts, strict=True):
            state[...] = start[0]

    carry = tuple(state[...] for state in states)
    dtype = states[0].dtype
    tiles_in = [x[0].astype(dtype) for x in inputs]
    tile_flags = flags[0][0] if flags else None
    results = [None] * TILE_STEPS
    for q in range(TILE_STEPS - 1, -1, -1) if reverse else range(TILE_STEPS):
        values = [x[q : q + 1] for x in tiles_in]
        lookahead = values[-1] if len(values) > num_inputs else None
        step_flags = None if tile_flags is None else tile_flags[q : q + 1]
        new, results[q] = step(carry, values[:num_inputs], lookahead, step_flags)
        if length % TILE_STEPS:
            inside = first + q < length
            new = tuple(jnp.where(inside, x, y) for x, y in zip(new, carry, strict=True))
        carry = new
    for output, steps in zip(outputs, zip(*results, strict=True), strict=True):
        output[0] = lax.concatenate([x.astype(dtype) for x in steps], 0).astype(output.dtype)
    for state, value in zip(states, carry, strict=True):
        state[...] = value

    @pl.when(k == tiles - 1)
    def _():
        for end, value in zip(ends, carry, strict=True):
            end[0] = value
