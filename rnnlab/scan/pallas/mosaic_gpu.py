"""The walk over time as one GPU kernel (Pallas, Mosaic GPU): compute capability 9.0 and later.

A thread block owns one sequence (or one chunk of it) and 128 features, one a thread, and walks over
time with the carries in registers. Tiles of `STEPS` rows come through shared memory by the tensor
memory accelerator, `STAGES` of them in flight. What a row brings forth goes straight to memory: a
store waits for nothing, and every thread reads and writes its own column alone, so that no barrier
is needed but the one before a tile's place is given to the next. Rows that are left over at the end
of the walk are read without staging.

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

from rnnlab.scan.affine import Step

FEATURES = 128
"""Features of a thread block: one for each thread of a warpgroup."""
STEPS = 16
"""Rows of a tile. Their loads, all independent of the carries, are issued together."""
STAGES = 4
"""Tiles in flight: at 8 kB and more a tile, enough to cover the latency of the memory."""
BLOCKS = 128
"""Thread blocks below which a walk is split in time, if it can be: about one a processor."""


# No barrier around loads and stores: a thread meets nothing that another has written.
PARAMS = plgpu.CompilerParams(
    unsafe_no_auto_barriers=True, lowering_semantics=plgpu.LoweringSemantics.Lane
)
# What moves in JAX's releases is missed here, on import, and not in the middle of a program.
_ = plgpu.kernel, plgpu.SMEM, plgpu.Barrier, plgpu.barrier_wait, plgpu.commit_smem
_ = plgpu.copy_gmem_to_smem


def chunks(batch_size: int, length: int, features: int) -> int:
    """In how many equal parts to split the time of a walk, so that the GPU's processors have work.

    Splitting costs a second reading of the rows, so it is done only below `BLOCKS` thread blocks.

    >>> chunks(8, 4096, 1024), chunks(1, 65536, 512)
    (2, 32)
    """
    tiles = length // STEPS
    wanted = BLOCKS // (batch_size * -(-features // FEATURES))
    return max((n for n in range(1, min(wanted, tiles // STAGES) + 1) if tiles % n == 0), default=1)


def sweep(
    step: Step,
    rows: Sequence[Array],
    ahead: tuple[Array, Array] | None,
    flags: Array | None,
    carries: Sequence[Array],
    dtypes: Sequence[Any],
    *,
    backwards: bool,
    interpret: Any = None,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """See `rnnlab.scan.pallas.driver.Sweep`."""
    streamed = [*rows] if ahead is None else [*rows, ahead[0]]
    edges = [] if ahead is None else [ahead[1]]
    given = [] if flags is None else [flags]
    batch_size, length, features = streamed[0].shape
    counts = len(streamed), len(edges), len(given), len(carries), len(dtypes)
    shape = (batch_size, length, features)
    results = plgpu.kernel(
        partial(_walk, _inlined(step), counts, len(rows), backwards),
        out_type=(
            *(jax.ShapeDtypeStruct(shape, dtype) for dtype in dtypes),
            *(jax.ShapeDtypeStruct(carry.shape, carry.dtype) for carry in carries),
        ),
        scratch_types=(
            *(plgpu.SMEM((STAGES, STEPS, FEATURES), x.dtype) for x in streamed),
            plgpu.Barrier(num_arrivals=len(streamed), num_barriers=STAGES),
        ),
        grid=(batch_size, carries[0].shape[1], features // FEATURES),
        grid_names=("sequence", "part", "block"),
        compiler_params=PARAMS,
        interpret=interpret,
    )(*streamed, *edges, *given, *carries)
    return tuple(results[: len(dtypes)]), tuple(results[len(dtypes) :])


def _walk(step, counts, row_count, backwards, *refs):
    """The kernel. `refs` are the streams, edge, flags and carries, the results, and the scratch."""
    refs = iter(refs)
    inputs, edges, flags, starts, outs, ends, stages, (arrived,) = (
        [next(refs) for _ in range(count)] for count in (*counts, counts[3], counts[0], 1)
    )
    sequence, part, block = (lax.axis_index(name) for name in ("sequence", "part", "block"))
    columns = pl.ds(block * FEATURES, FEATURES)
    length = inputs[0].shape[1]
    tiles, rest = divmod(length, STEPS)
    count = tiles // starts[0].shape[1]  # tiles of this part

    def first_row(tile):
        walked = (part * count + tile) * STEPS
        return length - walked - STEPS if backwards else walked

    def fetch(tile):
        stage = lax.rem(tile, STAGES)
        for source, target in zip(inputs, stages, strict=True):
            rows = source.at[sequence, pl.ds(first_row(tile), STEPS), columns]
            plgpu.copy_gmem_to_smem(rows, target.at[stage], arrived.at[stage])

    def over(carry, first, steps, read, beyond):
        """Walks over `steps` rows from `first`; `read(stream, k)` is the k-th of them."""
        order = range(steps - 1, -1, -1) if backwards else range(steps)
        flag = {k: flags[0][sequence, first + k] if flags else None for k in order}
        rows = {k: [read(s, k) for s in range(row_count)] for k in order}
        following = dict.fromkeys(order)
        if edges:
            onward = -1 if backwards else 1
            following = {k: beyond if k == order[-1] else read(-1, k + onward) for k in order}
        written = {}
        for k in order:
            carry, written[k] = step(carry, rows[k], following[k], flag[k])
        for k in order:
            for out, row in zip(outs, written[k], strict=True):
                out[sequence, first + k, columns] = row.astype(out.dtype)
        return carry

    def direct(stream, row):
        return inputs[stream][sequence, row, columns].astype(starts[0].dtype)

    def tile(k, carry):
        stage, first = lax.rem(k, STAGES), first_row(k)
        beyond = None
        if edges:
            row = first - 1 if backwards else first + STEPS
            inside = row >= 0 if backwards else row < length
            beyond = direct(-1, jnp.clip(row, 0, length - 1))
            beyond = jnp.where(inside, beyond, edges[0][sequence, columns])

        def staged(stream, row):
            return stages[stream][stage, row, :].astype(starts[0].dtype)

        plgpu.barrier_wait(arrived.at[stage])
        carry = over(carry, first, STEPS, staged, beyond)
        plgpu.commit_smem()  # also the barrier after which the stage may be overwritten
        lax.cond(k + STAGES < count, lambda: fetch(k + STAGES), lambda: None)
        return carry

    def remainder(carry):
        first = 0 if backwards else length - rest
        beyond = edges[0][sequence, columns] if edges else None
        return over(carry, first, rest, lambda s, k: direct(s, first + k), beyond)

    carry = tuple(start[sequence, part, columns] for start in starts)
    for k in range(min(STAGES, count)):
        fetch(jnp.int32(k))
    if count:
        carry = lax.fori_loop(0, count, tile, carry)
    if rest:
        last = part == starts[0].shape[1] - 1
        carry = lax.cond(last, remainder, lambda carry: carry, carry)
    for end, state in zip(ends, carry, strict=True):
        end[sequence, part, columns] = state


def _inlined(step: Step) -> Step:
    """`step` in the primitives that Mosaic GPU lowers: not a custom derivative, nor its sums."""

    def run(*arguments: Any) -> Any:
        closed, shapes = jax.make_jaxpr(step, return_shape=True)(*arguments)
        results = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return run


_CALLS: dict[str, Callable[[dict], Any]] = {
    "custom_jvp_call": lambda params: params["call_jaxpr"],
    "custom_vjp_call": lambda params: params["call_jaxpr"],
    "jit": lambda params: params["jaxpr"],
}


def _evaluate(jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *arguments), strict=True))

    def value(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        operands = [value(atom) for atom in equation.invars]
        if inner := _CALLS.get(equation.primitive.name):
            body = inner(equation.params)
            results = _evaluate(body.jaxpr, body.consts, operands)
        elif equation.primitive.name == "add_any":
            results = [operands[0] + operands[1]]
        else:
            results = equation.primitive.bind(*operands, **equation.params)
            results = results if equation.primitive.multiple_results else [results]
        values.update(zip(equation.outvars, results, strict=True))
    return [value(atom) for atom in jaxpr.outvars]
