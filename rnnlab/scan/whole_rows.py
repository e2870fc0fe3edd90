"""Loops over whole sequences where the time axis is cut over devices.

A step that is not linear in the state cannot be composed before the state is known. Two programs
run it on a cut time axis:

- By rows: where a batch axis is a multiple of the devices, they exchange time for examples
  (`all_to_all`), so that each runs its share of the examples over all time steps, and exchange
  back. All devices work in parallel. They send their inputs and outputs once.
- One after the other: each device runs its steps once the state of the device before arrives.
  Memory is divided, work is not: with the examples in M groups, which follow each other through N
  devices, a device works in M of M + N - 1 turns.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnlab.scan.time_shards import from_before, from_last, is_first, place, time_axis
from rnnlab.scan.varying import match_varying

RunFn = Callable[..., tuple[Any, Any]]
"""`run(parameters, carry, *arrays) -> (carry, ys)` over whole sequences."""


def run_whole_rows(
    run: RunFn, parameters: Any, carry: Any, arrays: tuple[Any, ...], *, in_turns: bool = True
) -> tuple[Any, Any]:
    """Returns the last carry and the outputs of `run(parameters, carry, *arrays)`.

    Args:
      run: works on any number of examples.
      parameters: a tree of arrays.
      carry: state before the first step, arrays that start with the batch axes.
      arrays: the inputs (*batch, time, features), then others (*batch, time, ...) or None.
      in_turns: whether `run` may get the parts of a sequence one after the other.

    Raises:
      ValueError: no batch axis is a multiple of the devices, and it may not.
    """
    axis = time_axis(*jax.tree.leaves(arrays))
    if axis is None:
        return run(parameters, carry, *arrays)
    batch_shape, shards = arrays[0].shape[:-2], lax.axis_size(axis)
    if shards == 1:
        carry, ys = run(parameters, carry, *arrays)
        return from_last(carry, axis), ys
    divisible = [k for k, size in enumerate(batch_shape) if size and size % shards == 0]
    if divisible:
        return _by_rows(run, parameters, carry, arrays, axis, divisible[0])
    if not in_turns:
        raise ValueError(
            f"a batch axis must be a multiple of {shards}, the devices of the time axis, for a "
            f"loop that reads time backwards, got {batch_shape}; change the batch size"
        )
    return _in_turns(run, parameters, carry, arrays, axis)


def _by_rows(run, parameters, carry, arrays, axis, row_axis):
    shards, time = lax.axis_size(axis), arrays[0].ndim - 2

    def start(x):
        return lax.axis_index(axis) * (x.shape[row_axis] // shards)

    def own(x):
        size = x.shape[row_axis] // shards
        return lax.dynamic_slice_in_dim(x, start(x), size, row_axis)

    def swap(x):
        return lax.all_to_all(x, axis, row_axis, time, tiled=True)

    state, ys = run(parameters, jax.tree.map(own, carry), *jax.tree.map(swap, arrays))

    def gather(x, like):
        zeros = jnp.zeros(like.shape, x.dtype)
        return lax.psum(lax.dynamic_update_slice_in_dim(zeros, x, start(like), row_axis), axis)

    ys = lax.all_to_all(ys, axis, time, row_axis, tiled=True)
    return jax.tree.map(gather, state, carry), ys


def _in_turns(run, parameters, carry, arrays, axis):
    shards, here = lax.axis_size(axis), place(axis)
    has_batch = arrays[0].ndim > 2
    rows = arrays[0].shape[0] if has_batch else 1
    groups = max(k for k in range(1, min(rows, shards) + 1) if rows % k == 0) if rows else 1

    def split(x):
        return x.reshape(groups, rows // groups, *x.shape[1:]) if has_batch else x[None]

    def join(x):
        return x.reshape(rows, *x.shape[2:]) if has_batch else x[0]

    def at(tree, k):
        return jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, k, 0, keepdims=False), tree)

    carries, arrays = jax.tree.map(split, (carry, arrays))
    _, shape = jax.eval_shape(run, parameters, at(carries, 0), *at(arrays, 0))
    nothing = jnp.zeros(shape.shape, shape.dtype)
    outputs = jnp.zeros((groups, *shape.shape), shape.dtype)
    # Before the branches: the transpose of a cast is a sum, for which other devices would wait.
    parameters, carries, arrays, nothing, outputs, _ = match_varying(
        (parameters, carries, arrays, nothing, outputs, here)
    )

    @jax.checkpoint
    def work(parameters, state, arrays, nothing):
        return run(parameters, state, *arrays)

    def rest(parameters, state, arrays, nothing):
        return state, nothing

    def turn(loop, k):
        arrived, last, outputs = loop
        group = k - here
        active, group = (group >= 0) & (group < groups), jnp.clip(group, 0, groups - 1)
        first = is_first(axis)
        state = jax.tree.map(lambda x, y: jnp.where(first, x, y), at(carries, group), arrived)
        state, ys = lax.cond(active, work, rest, parameters, state, at(arrays, group), nothing)

        def put(x, new):
            return x.at[group].set(jnp.where(active, new, x[group]))

        last = jax.tree.map(put, last, state)
        arrived = jax.tree.map(lambda x: from_before(x, axis), state)
        return (arrived, last, put(outputs, ys)), None

    start = at(carries, 0), carries, outputs
    (_, last, outputs), _ = lax.scan(turn, start, jnp.arange(groups + shards - 1, dtype=jnp.int32))
    return from_last(jax.tree.map(join, last), axis), join(outputs)
