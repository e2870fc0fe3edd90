"""Statistics of a cell's gates over a sequence."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float

from rnnlab.analysis._batching import call_options
from rnnlab.cells.gru import GRU
from rnnlab.cells.linear import LinearCell
from rnnlab.cells.lstm import LSTM
from rnnlab.recurrent import SATURATION_MARGIN

GATE_MEANINGS = {
    GRU: {
        "r": "0 hides the state from the candidate, 1 shows it",
        "z": "0 replaces the state by the candidate, 1 keeps the state",
    },
    LSTM: {
        "i": "0 ignores the candidate, 1 adds it to the state",
        "f": "0 forgets the state, 1 keeps it",
        "o": "0 hides the state from the output, 1 shows it",
    },
    LinearCell: {"decay": "0 forgets the state, 1 keeps it"},
}
"""What the ends of each gate do, by class of cells and name."""


def gate_meaning(cell: nnx.Module, name: str) -> str:
    """Returns what the lowest and the highest value of a cell's gate do; "" if it is not known.

    >>> from rnnlab import MinGRU
    >>> gate_meaning(MinGRU(3, 4, rngs=nnx.Rngs(0)), "decay")
    '0 forgets the state, 1 keeps it'
    """
    if name == "decay" and gate_range(cell)[0] < 0:
        return "-1 flips the sign of the state, 0 forgets it, 1 keeps it"
    for kind, meanings in GATE_MEANINGS.items():
        if isinstance(cell, kind):
            return meanings.get(name, "")
    return ""


def gate_range(cell: nnx.Module) -> tuple[float, float]:
    """Returns the range of a cell's gates, from which `gate_values` are scaled to (0, 1)."""
    return cell.decay_range if isinstance(cell, LinearCell) else (0, 1)


class GateStatistics(NamedTuple):
    """Statistics of one gate per unit, over all time steps and sequences; (features,) each.

    Attributes:
      mean, std: mean and standard deviation.
      saturated_low, saturated_high: fractions of the time steps at which it is within
        `SATURATION_MARGIN` of 0 and of 1.
    """

    mean: Float[Array, " features"]
    std: Float[Array, " features"]
    saturated_low: Float[Array, " features"]
    saturated_high: Float[Array, " features"]


def gate_statistics(
    cell: nnx.Module,
    carry: Any,
    xs: Float[Array, "*batch time in_features"],
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
    gaps: Float[Array, "*batch time"] | None = None,
) -> dict[str, GateStatistics]:
    """Statistics of every gate of a cell by name; padding is ignored.

    Args:
      cell: a cell with `gate_values`, such as those of `rnnlab.CELLS`. `cell_inputs` returns the
        cells of a model with their inputs.
      carry, xs, reset, mask, gaps: arguments of its call.

    Raises:
      ValueError: the cell has no `gate_values`.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import LSTM
    >>> cell = LSTM(3, 4, rngs=nnx.Rngs(0), forget_bias=5.0)
    >>> found = gate_statistics(cell, cell.initial_carry(()), jnp.zeros((7, 3)))
    >>> sorted(found), found["f"].saturated_high.tolist()
    (['f', 'i', 'o'], [1.0, 1.0, 1.0, 1.0])
    """
    if not hasattr(cell, "gate_values"):
        raise ValueError(f"{type(cell).__name__} has no gate_values; pass a cell that has gates")
    values = cell.gate_values(carry, xs, **call_options(cell, xs, reset, mask, gaps))
    return {name: _statistics(gate, mask) for name, gate in values.items()}


def _statistics(gate, mask):
    values = gate.reshape(-1, gate.shape[-1])
    weights = jnp.ones((len(values), 1), values.dtype)
    if mask is not None:
        weights = mask.reshape(-1, 1).astype(values.dtype)

    def mean(x):
        # Selected with `where`: padding may hold NaN.
        return jnp.where(weights > 0, x, 0).sum(0) / weights.sum()

    center = mean(values)
    std = jnp.sqrt(mean((values - center[None]) ** 2))
    low, high = ((x < SATURATION_MARGIN).astype(values.dtype) for x in (values, 1 - values))
    return GateStatistics(center, std, mean(low), mean(high))
