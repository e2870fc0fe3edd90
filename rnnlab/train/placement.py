"""Put batches on the devices of a sharding, from the rows that this process has read."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from rnnlab.tasks.batch import Batch

Shardings = Callable[[Batch], Batch]
"""Returns a `Batch` of shardings for a `Batch` of `jax.ShapeDtypeStruct`, the stacked batches of an
update: axis 0 counts them, axis 1 is the batch axis, axis 2 is time where an array has it."""


def batch_shapes(stacked: Batch) -> Batch:
    """Returns the shapes of the stacked batches of one update, with the dtypes that JAX uses.

    >>> batch_shapes(Batch(np.zeros((1, 4, 8)), None)).inputs
    ShapeDtypeStruct(shape=(1, 4, 8), dtype=float32)
    """
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, jax.dtypes.canonicalize_dtype(x.dtype)), stacked
    )


def own_rows(shapes: Batch, shardings: Batch) -> slice:
    """Returns the rows of the batch axis that the devices of this process hold, from first to last.

    Args:
      shapes: of the stacked batches of one update, see `batch_shapes`.
      shardings: of each array.
    """
    bounds = [
        index[1].indices(x.shape[1])[:2]
        for x, sharding in _pairs(shapes, shardings)
        for index in sharding.addressable_devices_indices_map(x.shape).values()
    ]
    return slice(min(first for first, _ in bounds), max(end for _, end in bounds))


def place(stacked: Batch, first_row: int, shapes: Batch, shardings: Batch) -> Batch:
    """Returns the arrays of one update on the devices of their shardings.

    Args:
      stacked: host arrays, at least the rows that `own_rows` returns.
      first_row: the row of the batch axis that is row 0 of `stacked`.
      shapes: of the whole batches, over all processes.
      shardings: of each array.
    """

    def put(x: np.ndarray, shape: jax.ShapeDtypeStruct, sharding: Any) -> jax.Array:
        def part(index: tuple[slice, ...]) -> np.ndarray:
            first, end, _ = index[1].indices(shape.shape[1])
            rows = slice(first - first_row, end - first_row)
            return x[(index[0], rows, *index[2:])].astype(shape.dtype, copy=False)

        return jax.make_array_from_callback(shape.shape, sharding, part)

    return jax.tree.map(put, stacked, shapes, shardings)


def _pairs(shapes: Batch, shardings: Batch) -> list[tuple[jax.ShapeDtypeStruct, Any]]:
    return list(zip(jax.tree.leaves(shapes), jax.tree.leaves(shardings), strict=True))
