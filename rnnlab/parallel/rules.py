"""The rules by which the axes of a mesh divide the axes of parameters.

Features are divided as in Megatron-LM (Shoeybi et al., arXiv 1909.08053): the first matrix of a
pair by its columns, the second by its rows, so that one all-reduce of the activations follows the
pair. The features of a minimal cell do not read each other, so its projections are the first
matrix, and the block's projection behind the cell is the second.
"""

import math
from typing import Any

import jax
from jax.sharding import PartitionSpec

from rnnlab.parallel.mesh import DATA, MODEL, MeshConfig

FSDP_MIN_SIZE = 4096
"""Arrays with at most this many numbers stay whole on each device: their gather costs a latency."""

COLUMNS = ("update_kernel", "forget_kernel", "input_kernel", "candidate_kernel", "head_kernel")
"""Matrices that are divided by their outputs, with the biases of the same name."""
ROWS = ("embedding",)
"""Matrices that are divided by their inputs."""
COLUMN_LAYERS = (("mlp", "layers", "1"),)
ROW_LAYERS = (("project",), ("mlp", "layers", "3"))
"""Dense layers, by the end of their path: of a block's MLP, and behind its cell."""


def names_of(path: tuple[Any, ...]) -> tuple[str, ...]:
    """Returns the path of a leaf as names, without the attribute of a variable's value."""
    keys = (getattr(k, "key", getattr(k, "name", getattr(k, "idx", None))) for k in path)
    return tuple(str(k) for k in keys if k not in (None, "value"))


def parameter_specs(
    params: Any, config: MeshConfig
) -> dict[tuple[str, ...], tuple[tuple[int, ...], PartitionSpec]]:
    """Returns the shape and the spec of each parameter, by its names.

    Args:
      params: parameters, arrays or their shapes.
      config: the mesh. Its model axis divides an axis by the rules of this module, where its size
        is a multiple; fsdp divides the largest axis that is left and a multiple of data, of arrays
        of more than `FSDP_MIN_SIZE` numbers.

    >>> import jax.numpy as jnp
    >>> shapes = {"embedding": jnp.zeros((64, 128)), "head_bias": jnp.zeros(64)}
    >>> {names[0]: tuple(spec) for names, (_, spec) in
    ...  parameter_specs(shapes, MeshConfig(data=2, model=4, fsdp=True)).items()}
    {'embedding': ('model', 'data'), 'head_bias': (None,)}
    """
    shapes = {
        names_of(path): tuple(x.shape) for path, x in jax.tree_util.tree_leaves_with_path(params)
    }
    return {
        names: (shape, _spec(names, shape, shapes.keys(), config))
        for names, shape in shapes.items()
    }


def _spec(
    names: tuple[str, ...], shape: tuple[int, ...], known: Any, config: MeshConfig
) -> PartitionSpec:
    axes: list[str | None] = [None] * len(shape)
    features = _features_axis(names, shape, known) if config.model > 1 else None
    if features is not None and shape[features] % config.model == 0:
        axes[features] = MODEL
    if config.fsdp and math.prod(shape) > FSDP_MIN_SIZE:
        free = [k for k, n in enumerate(shape) if axes[k] is None and n % config.data == 0]
        if free:
            axes[max(free, key=lambda k: shape[k])] = DATA
    return PartitionSpec(*axes)


def _features_axis(names: tuple[str, ...], shape: tuple[int, ...], known: Any) -> int | None:
    """Returns the axis of a parameter that the model axis divides, None for none."""
    *layer, name = names
    if name in COLUMNS and len(shape) == 2:
        return 1
    if name in ROWS:
        return 0
    if name.endswith("_bias") and len(shape) == 1:
        # Not the candidate's bias of a GRU, which has no kernel of that name.
        kernel = name.removesuffix("_bias") + "_kernel"
        return 0 if kernel in COLUMNS and (*layer, kernel) in known else None
    for ends, is_column in ((COLUMN_LAYERS, True), (ROW_LAYERS, False)):
        if any(tuple(layer[-len(end) :]) == end for end in ends) and len(layer) > 1:
            if name == "kernel":
                return 1 if is_column else 0
            return 0 if name == "bias" and is_column else None
    return None
