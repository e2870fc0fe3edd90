"""Remove units of cells whose units do not read each other's states."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnnlab.cells.minimal import MinimalCell
from rnnlab.layers import Bidirectional, Block


def prunable_cells(layer: nnx.Module) -> list[MinimalCell]:
    """Returns the minimal cells whose states the projection of a block reads, in their order.

    It is empty for every other layer. The units of a minimal cell read the input only: the
    recurrence is diagonal, so that a unit can be removed without any change of the others.

    >>> from rnnlab import GRU, MinGRU
    >>> rngs = nnx.Rngs(0)
    >>> [len(prunable_cells(Block(4, cell, rngs=rngs))) for cell in (MinGRU, GRU)]
    [1, 0]
    """
    if not isinstance(layer, Block):
        return []
    cell = layer.cell
    cells = [cell]
    if isinstance(cell, Bidirectional) and cell.merge == "concat":
        cells = [cell.forward, cell.backward]
    return cells if all(isinstance(c, MinimalCell) for c in cells) else []


def keep_units(cell: MinimalCell, kept: Sequence[int]) -> None:
    """Removes all units of a minimal cell except some; every other one keeps its trajectory.

    Args:
      cell: is changed in place.
      kept: the units that stay, in their order.

    >>> from rnnlab import MinGRU
    >>> cell = MinGRU(3, 4, rngs=nnx.Rngs(0))
    >>> keep_units(cell, [0, 2])
    >>> cell(jnp.ones((5, 3)))[1].shape
    (5, 2)
    """
    kept = jnp.asarray(kept, jnp.int32)
    for name, value in list(vars(cell).items()):
        if isinstance(value, nnx.Param):  # the last axis of each is that of the units
            setattr(cell, name, value.replace(jnp.take(value[...], kept, axis=-1)))
    cell.features = len(kept)


def keep_units_of_block(
    block: Block, kept: Sequence[Sequence[int]], weights: np.ndarray, bias: np.ndarray
) -> None:
    """Removes units of a block's cells and replaces the projection that reads the others.

    Args:
      block: is changed in place.
      kept: the units that stay, for each of `prunable_cells`.
      weights: (kept units, width), the kernel of the projection.
      bias: (width,), the bias of the projection.
    """
    for cell, units in zip(prunable_cells(block), kept, strict=True):
        keep_units(cell, units)
    count = len(weights)
    if isinstance(block.cell, Bidirectional):
        block.cell.features = count
    project = block.project
    project.in_features = count
    dtype = project.kernel.dtype
    project.kernel = project.kernel.replace(jnp.asarray(weights, dtype))
    project.bias = project.bias.replace(jnp.asarray(bias, dtype))


def copy_of(model: nnx.Module) -> nnx.Module:
    """Returns a copy of a module with arrays of its own."""
    graphdef, state = nnx.split(model)
    return nnx.merge(graphdef, jax.tree.map(jnp.copy, state))
