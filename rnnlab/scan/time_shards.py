"""The time axis cut over devices: which arrays are parts of it, and what their devices exchange.

Inside `jax.shard_map`, a sequence that varies over the mesh axis `time` is its device's part of the
time axis, in the order of that axis. A sequence that does not vary over it is whole. This is read
from the types of arrays, which JAX tracks unless `check_vma=False`.
"""

import itertools
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array, lax

from rnnlab.scan.varying import varying_axes

TIME_AXIS = "time"
"""Name of the mesh axis over which time is cut."""
MAX_GATHERED_SHARDS = 16
"""Shards up to which all gather the maps of all; beyond, a ladder of permutations is less traffic.
"""


@runtime_checkable
class Map(Protocol):
    """The map of the steps of one shard, a NamedTuple of arrays; see `composition.AffineMap`."""

    b: Array

    def __call__(self, state: Array) -> Array: ...
    def after(self, earlier: Any) -> Any: ...


AnyMap = TypeVar("AnyMap", bound=Map)


def time_axis(*sequences: Array | None) -> str | None:
    """Returns the mesh axis over which the time axis of sequences is cut, or None if it is whole.

    Raises:
      ValueError: the types of arrays do not show it, under `jax.shard_map(check_vma=False)`.
    """
    if TIME_AXIS not in jax.sharding.get_abstract_mesh().manual_axes:
        return None
    if TIME_AXIS not in varying_axes(lax.axis_index(TIME_AXIS)):
        if lax.axis_size(TIME_AXIS) == 1:
            return None
        raise ValueError(
            f"shard_map must track varying axes over the mesh axis {TIME_AXIS!r}, got "
            "check_vma=False, which hides whether a sequence is cut; remove that argument"
        )
    return TIME_AXIS if TIME_AXIS in varying_axes(sequences) else None


def place(axis: str, reverse: bool = False) -> Array:
    """Returns the number of shards that come before this one, after it if `reverse`."""
    index = lax.axis_index(axis)
    return lax.axis_size(axis) - 1 - index if reverse else index


def is_first(axis: str, reverse: bool = False) -> Array:
    """Returns whether no shard comes before this one."""
    return place(axis, reverse) == 0


def is_last(axis: str, reverse: bool = False) -> Array:
    """Returns whether no shard comes after this one."""
    return is_first(axis, not reverse)


def from_last(tree: Any, axis: str, reverse: bool = False) -> Any:
    """Returns the arrays of the last shard on all shards, of a type that does not vary over `axis`.

    It sums over the shards; all but the last add zeros.
    """
    chosen = is_last(axis, reverse)
    return jax.tree.map(lambda x: lax.psum(jnp.where(chosen, x, 0), axis), tree)


def from_before(tree: Any, axis: str, reverse: bool = False, distance: int = 1) -> Any:
    """Returns the arrays of the shard `distance` places before this one, or zeros without one.

    All arrays have the same leading axes; they travel as one.
    """
    shards = lax.axis_size(axis)
    pairs = [(k, k + distance) for k in range(shards - distance)]
    pairs = [(later, earlier) for earlier, later in pairs] if reverse else pairs
    packed, unpack = _pack(tree)
    return unpack(lax.ppermute(packed, axis, pairs))


def last_step(xs: Array) -> Array:
    """Returns the last time step of (*batch, time, features), of the last shard where time is cut.

    >>> import jax.numpy as jnp
    >>> print(last_step(jnp.array([[1.0], [2.0]])))
    [2.]
    """
    axis, step = time_axis(xs), xs[..., -1, :]
    return step if axis is None else from_last(step, axis)


def entering(
    steps: AnyMap, axis: str, *, reverse: bool, gathered: AnyMap | None = None
) -> tuple[Array, AnyMap | None]:
    """Returns what enters this shard: the state after all shards before it.

    Args:
      steps: the map of this shard's steps. On the first shard, its `b` is the state after them.
      axis: name of the mesh axis.
      reverse: whether the shards follow each other from the last to the first.
      gathered: the maps of all shards without `b`, as returned before, of which only `b` has
        changed. It may also come from the other direction.

    Returns:
      The state, without meaning on the first shard, and the maps of all shards, (shards, ...),
      without `b`; None where there are more than `MAX_GATHERED_SHARDS`.
    """
    shards = lax.axis_size(axis)
    if shards > MAX_GATHERED_SHARDS:
        return _climb(steps, axis, reverse), None
    if gathered is None:
        every = _gather(steps, axis)
        gathered = every._replace(b=None)
    else:
        every = gathered._replace(b=_gather(steps.b, axis))
    here = place(axis, reverse)

    def at(k):
        return shards - 1 - k if reverse else k

    def body(k, state):
        later = jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, at(k), 0, keepdims=False), every)
        return jnp.where(k < here, later(state), state)

    return lax.fori_loop(1, max(shards - 1, 1), body, every.b[at(0)]), gathered


def _climb(steps, axis, reverse):
    """`entering` in log2(shards) exchanges with shards at distances 1, 2, 4, ..., and a last one.

    Source: Hillis and Steele, "Data Parallel Algorithms" (1986).
    """
    here, distance = place(axis, reverse), 1
    while distance < lax.axis_size(axis):
        composed = steps.after(from_before(steps, axis, reverse, distance))
        steps = jax.tree.map(partial(jnp.where, here >= distance), composed, steps)
        distance *= 2
    return from_before(steps.b, axis, reverse)


def _gather(tree, axis):
    """Returns the arrays of all shards in the order of the axis, (shards, ...), in one exchange."""
    packed, unpack = _pack(tree)
    return unpack(lax.all_gather(packed, axis))


def _pack(tree):
    """Joins arrays along features in the dtype of the widest; returns it and the inverse."""
    leaves, structure = jax.tree.flatten(tree)
    dtype = max((x.dtype for x in leaves), key=lambda dtype: dtype.itemsize)
    ends = list(itertools.accumulate(x.shape[-1] for x in leaves))
    packed = jnp.concatenate([x.astype(dtype) for x in leaves], -1)

    def unpack(packed):
        parts = jnp.split(packed, ends[:-1], -1)
        found = (part.astype(x.dtype) for part, x in zip(parts, leaves, strict=True))
        return jax.tree.unflatten(structure, list(found))

    return packed, unpack
