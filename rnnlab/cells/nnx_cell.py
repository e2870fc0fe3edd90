"""The cells of Flax NNX under the contract."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rnnlab.call_arguments import BatchShape
from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.recurrent import Recurrent


class NNXCell(Recurrent):
    """A cell of Flax NNX, such as `flax.nnx.GRUCell`, with resets, masks and streaming.

    It can be used wherever a cell of rnnlab can: in `Stack`, `Bidirectional`, `Block` and
    `SequenceModel`. Sequences are computed step by step, with `jax.lax.scan`. Between time steps
    the carry is float32 or wider; in a step it has the dtype of the cell.

    Args:
      cell: a `flax.nnx.GRUCell`, `LSTMCell`, `OptimizedLSTMCell` or `SimpleCell`, or another
        `flax.nnx.RNNCellBase` with `in_features` and `hidden_features` and one axis of features.
        Its `initialize_carry` is called with the key 0 for a single example, and the result serves
        every example as initial carry.

    Raises:
      ValueError: cell is not such a cell, or the shapes or dtypes of a call do not fit.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> cell = NNXCell(nnx.LSTMCell(3, 8, rngs=nnx.Rngs(0)))
    >>> (c, h), ys = cell(jnp.ones((2, 5, 3)))
    >>> c.shape, ys.shape
    ((2, 8), (2, 5, 8))
    """

    def __init__(self, cell: nnx.Module):
        is_cell = isinstance(cell, nnx.RNNCellBase) and hasattr(cell, "hidden_features")
        if not is_cell or cell.num_feature_axes != 1:
            is_class = isinstance(cell, type)
            found = f"the class {cell.__name__}" if is_class else type(cell).__name__
            raise ValueError(
                f"cell must be a cell of flax.nnx with one axis of features, got {found}; pass one "
                "such as nnx.GRUCell(in_features, features, rngs=rngs)"
            )
        self.cell = cell
        self.in_features = cell.in_features
        self.features = cell.hidden_features
        self.dtype = compute_dtype(cell.dtype, cell.param_dtype)

    def initial_carry(self, batch_shape: BatchShape = ()) -> Any:
        """Returns the cell's initial carry for each example, float32 or wider."""
        carry = self.cell.initialize_carry((self.in_features,), nnx.Rngs(0))
        dtype = accumulation_dtype(self.dtype)
        return jax.tree.map(
            lambda c: jnp.broadcast_to(c.astype(dtype), (*batch_shape, *c.shape)), carry
        )

    def update(self, carry, x):
        def cast(tree, dtype):
            return jax.tree.map(lambda c: c.astype(dtype), tree)

        carry, y = self.cell(cast(carry, self.dtype), x.astype(self.dtype))
        return cast(carry, accumulation_dtype(self.dtype)), y
