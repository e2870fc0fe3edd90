"""The gradient of a mean loss over the devices of a mesh, inside `jax.shard_map`.

Every device runs the program of one device on its part of the batch. The parameters enter once: a
part of an array is gathered, and all are cast to vary over the mesh before anything reads them, so
that the gradients of all devices are summed once, as arrays of the size of the parameters. (A cast
behind a broadcast would sum arrays of the size of the activations.)
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import PartitionSpec

from rnnlab.parallel.mesh import DATA
from rnnlab.parallel.placement import Placement
from rnnlab.parallel.rules import names_of
from rnnlab.tasks.batch import Batch

Gradients = tuple[Any, Any, Array]
"""The carry after the batches, the gradient, and the loss."""


def sharded_gradients(
    local: Callable[[Any, Any, Batch, Array], Gradients], placement: Placement
) -> Callable[[Any, Any, Batch, Array], Gradients]:
    """Returns the gradients of a mean over all devices.

    Args:
      local: `local(params, carry, batches, key)` of one device's examples and time steps. Its loss
        and gradient are this device's share of the mean, see `mean_share`.
      placement: the mesh. Where only its model axis has several devices, XLA divides the program
        of one device, and `local` is returned.

    Returns:
      The same function of whole arrays: the sum of the shares, and a gradient that is divided over
      the devices as the parameters are. The key of each device is another one.
    """
    axes = placement.config.manual_axes
    if not axes:
        return local

    def gradients(params: Any, carry: Any, batches: Batch, key: Array) -> Gradients:
        leaves, treedef = jax.tree.flatten(params)
        specs = manual_specs(params, placement)
        carry_specs = placement.examples.spec

        def shard(leaves: list[Array], carry: Any, batches: Batch, key: Array) -> Any:
            whole = [enter(x, spec, axes) for x, spec in zip(leaves, specs, strict=True)]
            key = jax.random.fold_in(key, lax.axis_index(axes))
            carry, gradient, loss = local(treedef.unflatten(whole), carry, batches, key)
            parts = reduce_gradients(jax.tree.leaves(gradient), specs, axes)
            return carry, parts, lax.psum(loss, axes)

        carry, parts, loss = jax.shard_map(
            shard,
            mesh=placement.mesh,
            in_specs=(
                specs,
                carry_specs,
                placement.batch_specs(batches, stacked=True),
                PartitionSpec(),
            ),
            out_specs=(carry_specs, specs, PartitionSpec()),
            axis_names=frozenset(axes),
        )(leaves, carry, batches, key)
        return carry, treedef.unflatten(parts), loss

    return gradients


def sharded_call(
    local: Callable[[Any, Batch], Any], placement: Placement, *, has_time: bool
) -> Callable[[Any, Batch], Any]:
    """Returns `local(params, batch)` of whole arrays, computed for a part of a batch per device.

    Args:
      local: the function of one device's examples and time steps.
      placement: the mesh. Where only its model axis has several devices, `local` is returned.
      has_time: whether the results are arrays (examples, time, ...); False: sums over all devices,
        which `local` has taken.
    """
    axes = placement.config.manual_axes
    if not axes:
        return local

    def call(params: Any, batch: Batch) -> Any:
        leaves, treedef = jax.tree.flatten(params)
        specs = manual_specs(params, placement)

        def shard(leaves: list[Array], batch: Batch) -> Any:
            whole = [enter(x, spec, axes) for x, spec in zip(leaves, specs, strict=True)]
            return local(treedef.unflatten(whole), batch)

        return jax.shard_map(
            shard,
            mesh=placement.mesh,
            in_specs=(specs, placement.batch_specs(batch)),
            out_specs=placement.time_steps.spec if has_time else PartitionSpec(),
            axis_names=frozenset(axes),
        )(leaves, batch)

    return call


def manual_specs(params: Any, placement: Placement) -> list[PartitionSpec]:
    """Returns how `jax.shard_map` divides each parameter, in the order of the leaves."""
    return [
        placement.manual_spec(placement.parameter_spec(names_of(path), x.shape))
        for path, x in jax.tree_util.tree_leaves_with_path(params)
    ]


def enter(x: Array, spec: PartitionSpec, axes: tuple[str, ...]) -> Array:
    """Returns a whole parameter that varies over the mesh, from this device's part of it.

    Args:
      x: the part, inside `jax.shard_map`.
      spec: how the parameter is divided; only over the data axis or not at all.
      axes: the axes of the mesh that are divided by hand.
    """
    missing = tuple(name for name in axes if name not in spec)
    x = lax.pcast(x, missing, to="varying") if missing else x
    if DATA in spec:
        x = lax.all_gather(x, DATA, axis=tuple(spec).index(DATA), tiled=True)
    return x


def reduce_gradients(
    gradients: list[Array], specs: list[PartitionSpec], axes: tuple[str, ...]
) -> list[Array]:
    """Returns the sums of gradients over the devices, each divided as its parameter is."""
    whole = {k for k, spec in enumerate(specs) if DATA not in spec}
    sums = dict(
        zip(sorted(whole), lax.psum([gradients[k] for k in sorted(whole)], axes), strict=True)
    )
    others = tuple(name for name in axes if name != DATA)
    for k, (x, spec) in enumerate(zip(gradients, specs, strict=True)):
        if k not in whole:
            axis = tuple(spec).index(DATA)
            x = lax.psum_scatter(x, DATA, scatter_dimension=axis, tiled=True)
            sums[k] = lax.psum(x, others) if others else x
    return [sums[k] for k in range(len(specs))]


def mean_share(weight: Array, axes: tuple[str, ...]) -> Array:
    """Returns the factor of this device's mean in the mean over all devices.

        mean over all = sum over devices of mean_share(n) * mean, n the count that each divides by

    Args:
      weight: what this device's mean divides by: a count of targets or a sum of their weights.
      axes: the axes of the mesh over which the mean is taken; none: 1.
    """
    if not axes:
        return jnp.ones((), weight.dtype)
    total = lax.psum(lax.stop_gradient(weight), axes)
    return weight / jnp.where(total > 0, total, jnp.ones((), total.dtype))
