"""What a cell's gates do over a sequence."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float

SATURATED = 0.05
"""A gate nearer than this to 0 or to 1 is called saturated: its gradient is below a fifth of the
largest that a sigmoid has."""


class GateStatistics(NamedTuple):
    """Of one gate, each unit over all steps and sequences; (features,) each.

    Attributes:
      mean, std: of its values.
      closed, opened: shares of the steps at which it is within `SATURATED` of 0, and of 1.
    """

    mean: Float[Array, " features"]
    std: Float[Array, " features"]
    closed: Float[Array, " features"]
    opened: Float[Array, " features"]


def gate_statistics(
    cell: nnx.Module,
    carry: Any,
    xs: Float[Array, "*batch time in_features"],
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
) -> dict[str, GateStatistics]:
    """Statistics of every gate of a cell by its name; padding does not count.

    Args:
      cell: has `gate_values`, as the cells of `rnnlab.CELLS` have. Those of a model, with what they
        read, are in `rnnlab.analysis.cell_inputs`.
      carry, xs, reset, mask: what it is called with.

    Raises:
      ValueError: the cell has no `gate_values`.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import LSTM
    >>> cell = LSTM(3, 4, rngs=nnx.Rngs(0), forget_bias=5.0)
    >>> found = gate_statistics(cell, cell.initial_carry(()), jnp.zeros((7, 3)))
    >>> sorted(found), found["f"].opened.tolist()
    (['f', 'i', 'o'], [1.0, 1.0, 1.0, 1.0])
    """
    if not hasattr(cell, "gate_values"):
        raise ValueError(f"{type(cell).__name__} has no gate_values; give a cell that has gates")
    values = cell.gate_values(carry, xs, reset=reset, mask=mask)
    return {name: _statistics(gate, mask) for name, gate in values.items()}


def _statistics(gate, mask):
    rows = gate.reshape(-1, gate.shape[-1])
    weights = jnp.ones((len(rows), 1), rows.dtype)
    if mask is not None:
        weights = mask.reshape(-1, 1).astype(rows.dtype)

    def mean(x):
        # Chosen and not multiplied: what padding holds may be NaN.
        return jnp.where(weights > 0, x, 0).sum(0) / weights.sum()

    centre = mean(rows)
    std = jnp.sqrt(mean((rows - centre[None]) ** 2))
    closed, opened = ((x < SATURATED).astype(rows.dtype) for x in (rows, 1 - rows))
    return GateStatistics(centre, std, mean(closed), mean(opened))
