"""The scan over time as one GPU kernel (Pallas, Mosaic GPU): compute capability 9.0 and later.

A thread block owns one sequence (or one chunk of it) and 128 features, one per thread, and scans
over time with the carries in registers. The tensor memory accelerator copies tiles of `TILE_STEPS`
time steps to shared memory, `PIPELINE_STAGES` of them in flight. Outputs are stored directly to
global memory; each thread touches only its own column, so one barrier per tile suffices, before its
stage is overwritten. The time steps that fill no tile are read without staging.

All offsets are coordinates or 64-bit indices, so arrays may hold more than 2^31 elements.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jax.extend.core import Jaxpr, Literal

from rnnlab.scan.pallas.driver import StepFn

BLOCK_FEATURES = 128
"""Features per thread block: one for each thread of a warpgroup."""
TILE_STEPS = 16
"""Time steps per tile. Their loads, all independent of the carries, are issued together."""
PIPELINE_STAGES = 4
"""Tiles in flight: at 8 kB or more per tile, enough to hide the latency of the memory."""
SPLIT_BELOW = 32
"""Number of thread blocks below which time is split, if possible.

Measured on an H200 (docs/gpu.md): with 32, one chunk is faster than more of them, and with 16
slower. From there on the second reading of the operands costs more than idle processors.
"""
SPLIT_THREAD_BLOCKS = 128
"""Number of thread blocks after a split: about one per processor."""


# No automatic barriers around loads and stores: no thread reads what another has written.
PARAMS = plgpu.CompilerParams(
    unsafe_no_auto_barriers=True, lowering_semantics=plgpu.LoweringSemantics.Lane
)
# A name that a JAX release has moved fails here, on import, instead of in a running program.
_ = plgpu.kernel, plgpu.SMEM, plgpu.Barrier, plgpu.barrier_wait, plgpu.commit_smem
_ = plgpu.copy_gmem_to_smem


def num_time_chunks(batch_size: int, length: int, features: int) -> int:
    """Returns the number of equal chunks to split time into, so that all processors have work.

    Splitting costs a second reading of the inputs, so it happens only with few thread blocks.

    >>> num_time_chunks(8, 4096, 1024), num_time_chunks(1, 65536, 512)
    (1, 32)
    """
    tiles = length // TILE_STEPS
    blocks = batch_size * -(-features // BLOCK_FEATURES)
    wanted = SPLIT_THREAD_BLOCKS // blocks if blocks < SPLIT_BELOW else 1
    most = min(wanted, tiles // PIPELINE_STAGES)
    return max((n for n in range(1, most + 1) if tiles % n == 0), default=1)


def scan_kernel(
    step: StepFn,
    inputs: Sequence[Array],
    lookahead: tuple[Array, Array] | None,
    flags: Array | None,
    carries: Sequence[Array],
    dtypes: Sequence[Any],
    *,
    reverse: bool,
    interpret: Any = None,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """See `rnnlab.scan.pallas.driver.KernelFn`."""
    num_inputs = len(inputs)
    inputs = [*inputs] if lookahead is None else [*inputs, lookahead[0]]
    lookahead_end = [] if lookahead is None else [lookahead[1]]
    flag_arrays = [] if flags is None else [flags]
    batch_size, _, features = shape = inputs[0].shape
    counts = len(inputs), len(lookahead_end), len(flag_arrays), len(carries), len(dtypes)
    results = plgpu.kernel(
        partial(_kernel_body, _inline_calls(step), counts, num_inputs, reverse),
        out_type=(
            *(jax.ShapeDtypeStruct(shape, dtype) for dtype in dtypes),
            *(jax.ShapeDtypeStruct(carry.shape, carry.dtype) for carry in carries),
        ),
        scratch_types=(
            *(plgpu.SMEM((PIPELINE_STAGES, TILE_STEPS, BLOCK_FEATURES), x.dtype) for x in inputs),
            plgpu.Barrier(num_arrivals=len(inputs), num_barriers=PIPELINE_STAGES),
        ),
        grid=(batch_size, carries[0].shape[1], features // BLOCK_FEATURES),
        grid_names=("sequence", "chunk", "block"),
        compiler_params=PARAMS,
        interpret=interpret,
    )(*inputs, *lookahead_end, *flag_arrays, *carries)
    return tuple(results[: len(dtypes)]), tuple(results[len(dtypes) :])


def _kernel_body(step, counts, num_inputs, reverse, *refs):
    """Runs in each thread. `refs` are the inputs, lookahead end, flags, carries, results, scratch.

    The lookahead array, if there is one, is the last of the inputs.
    """
    refs = iter(refs)
    inputs, lookahead_end, flags, starts, outputs, ends, stages, (load_barriers,) = (
        [next(refs) for _ in range(count)] for count in (*counts, counts[3], counts[0], 1)
    )
    sequence, chunk, block = (lax.axis_index(name) for name in ("sequence", "chunk", "block"))
    columns = pl.ds(block * BLOCK_FEATURES, BLOCK_FEATURES)
    length = inputs[0].shape[1]
    tiles, rest = divmod(length, TILE_STEPS)
    count = tiles // starts[0].shape[1]  # tiles per chunk

    def first_step(tile):
        done = (chunk * count + tile) * TILE_STEPS
        return length - done - TILE_STEPS if reverse else done

    def fetch(tile):
        stage = lax.rem(tile, PIPELINE_STAGES)
        for source, target in zip(inputs, stages, strict=True):
            part = source.at[sequence, pl.ds(first_step(tile), TILE_STEPS), columns]
            plgpu.copy_gmem_to_smem(part, target.at[stage], load_barriers.at[stage])

    def run_steps(carry, first, steps, read, next_tile_step):
        """Runs `steps` time steps from `first`; `read(array, k)` returns the k-th of them."""
        order = range(steps - 1, -1, -1) if reverse else range(steps)
        step_flags = {k: flags[0][sequence, first + k] if flags else None for k in order}
        values = {k: [read(i, k) for i in range(num_inputs)] for k in order}
        ahead = dict.fromkeys(order)
        if lookahead_end:
            direction = -1 if reverse else 1
            ahead = {
                k: next_tile_step if k == order[-1] else read(-1, k + direction) for k in order
            }
        results = {}
        for k in order:
            carry, results[k] = step(carry, values[k], ahead[k], step_flags[k])
        for k in order:
            for output, value in zip(outputs, results[k], strict=True):
                output[sequence, first + k, columns] = value.astype(output.dtype)
        return carry

    def read_global(i, t):
        return inputs[i][sequence, t, columns].astype(starts[0].dtype)

    def run_tile(k, carry):
        stage, first = lax.rem(k, PIPELINE_STAGES), first_step(k)
        next_tile_step = None
        if lookahead_end:
            t = first - 1 if reverse else first + TILE_STEPS
            inside = t >= 0 if reverse else t < length
            next_tile_step = read_global(-1, jnp.clip(t, 0, length - 1))
            next_tile_step = jnp.where(inside, next_tile_step, lookahead_end[0][sequence, columns])

        def read_shared(i, k):
            return stages[i][stage, k, :].astype(starts[0].dtype)

        plgpu.barrier_wait(load_barriers.at[stage])
        carry = run_steps(carry, first, TILE_STEPS, read_shared, next_tile_step)
        plgpu.commit_smem()  # also the barrier after which the stage may be overwritten
        lax.cond(k + PIPELINE_STAGES < count, lambda: fetch(k + PIPELINE_STAGES), lambda: None)
        return carry

    def run_remainder(carry):
        first = 0 if reverse else length - rest
        after = lookahead_end[0][sequence, columns] if lookahead_end else None
        return run_steps(carry, first, rest, lambda i, k: read_global(i, first + k), after)

    carry = tuple(start[sequence, chunk, columns] for start in starts)
    for k in range(min(PIPELINE_STAGES, count)):
        fetch(jnp.int32(k))
    if count:
        carry = lax.fori_loop(0, count, run_tile, carry)
    if rest:
        is_last = chunk == starts[0].shape[1] - 1
        carry = lax.cond(is_last, run_remainder, lambda carry: carry, carry)
    for end, state in zip(ends, carry, strict=True):
        end[sequence, chunk, columns] = state


def _inline_calls(step: StepFn) -> StepFn:
    """Returns `step` in primitives that Mosaic GPU lowers, without custom derivatives."""

    def run(*arguments: Any) -> Any:
        closed, shapes = jax.make_jaxpr(step, return_shape=True)(*arguments)
        results = _eval_jaxpr(closed.jaxpr, closed.consts, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return run


_CALLS: dict[str, Callable[[dict], Any]] = {
    "custom_jvp_call": lambda params: params["call_jaxpr"],
    "custom_vjp_call": lambda params: params["call_jaxpr"],
    "jit": lambda params: params["jaxpr"],
}


def _eval_jaxpr(jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *arguments), strict=True))

    def value(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        operands = [value(atom) for atom in equation.invars]
        if inner := _CALLS.get(equation.primitive.name):
            body = inner(equation.params)
            results = _eval_jaxpr(body.jaxpr, body.consts, operands)
        elif equation.primitive.name == "add_any":  # the sum of two cotangents
            results = [operands[0] + operands[1]]
        else:
            results = equation.primitive.bind(*operands, **equation.params)
            results = results if equation.primitive.multiple_results else [results]
        values.update(zip(equation.outvars, results, strict=True))
    return [value(atom) for atom in jaxpr.outvars]
