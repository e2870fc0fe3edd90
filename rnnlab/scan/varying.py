"""The mesh axes over which arrays vary inside `jax.shard_map`.

Inside `shard_map`, the type of an array names the mesh axes over which its values differ between
devices. A loop needs one type for its carry before and after each step, and a branch one type for
all its results. A state of zeros, or a replicated parameter, varies over no axis, but the state
after one step of a sharded batch does. `match_varying` gives all of them one type at the entry of a
scan or a cell.

The transpose of that cast is a sum over the devices. It therefore comes before a `custom_vjp`,
never inside a branch of `lax.cond`, whose devices may choose differently and would wait for each
other, and before a parameter is broadcast to the size of the activations.
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

Tree = TypeVar("Tree")


def varying_axes(tree: Any) -> frozenset[str]:
    """Returns the manual mesh axes over which any array of a tree varies.

    It is empty outside `jax.shard_map`, and inside with `check_vma=False`.

    >>> import jax.numpy as jnp
    >>> varying_axes(jnp.zeros(3))
    frozenset()
    """
    return frozenset().union(*map(_axes, jax.tree.leaves(tree)))


def match_varying(tree: Tree) -> Tree:
    """Returns a tree whose arrays all vary over the mesh axes over which any of them varies.

    Values stay the same. Outside `jax.shard_map` it returns the tree itself, without an operation.

    Args:
      tree: arrays, or None in place of one.

    >>> import jax, jax.numpy as jnp
    >>> P = jax.sharding.PartitionSpec
    >>> def types(carry, xs):
    ...     print(*map(jax.typeof, match_varying((carry, xs))))
    ...     return xs
    >>> mesh = jax.sharding.Mesh(jax.devices()[:1], "data")
    >>> _ = jax.shard_map(types, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"))(
    ...     jnp.zeros(2), jnp.ones((4, 2))
    ... )
    float32[2]{V:data} float32[4,2]{V:data}
    """
    axes = varying_axes(tree)
    if not axes:
        return tree

    def cast(x):
        missing = axes - _axes(x)
        return lax.pcast(x, tuple(sorted(missing)), to="varying") if missing else x

    return jax.tree.map(cast, tree)


def broadcast_like(parameter: Array, x: Array) -> Array:
    """Returns a parameter in the shape of `x`, which varies over the mesh axes over which `x` does.

    The cast comes before the broadcast, so that the gradient is summed over the devices in the size
    of the parameter, not in that of `x`.

    Args:
      parameter: of a shape that broadcasts to that of `x`. It keeps its dtype.
      x: any array, for its shape and its mesh axes.

    >>> import jax.numpy as jnp
    >>> print(broadcast_like(jnp.array([1, 2]), jnp.zeros((2, 2))))
    [[1 2]
     [1 2]]
    """
    return jnp.broadcast_to(match_varying((parameter, x))[0], x.shape)


def _axes(x: Any) -> frozenset[str]:
    return jax.typeof(x).manual_axis_type.varying
