"""The residual block around a cell."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Key

from rnnlab.cells.validation import checked, compute_dtype, zero_masked
from rnnlab.layers.conv import CausalConv
from rnnlab.layers.dropout import check_rate, dropout, key_option
from rnnlab.layers.norm import RMSNorm
from rnnlab.validation import require_positive_int


class BlockCarry(NamedTuple):
    """A block's state: its convolution's window, () without one, and its cell's carry."""

    conv: Any
    cell: Any


class Block(nnx.Module):
    """Norm, convolution, cell and projection in a residual branch, then an MLP in another.

        x = x + dropout(project(cell(conv(norm(x)))))
        x = x + dropout(mlp(norm(x)))

    A block keeps the cell's contract, `step` and cutting included; a reset cuts the convolution's
    window too. With a convolution, `mask` must be right padding.

    Args:
      width: width of the residual stream, which is input and output.
      cell: makes the cell, called as `cell(width, expansion * width, rngs=..., dtype=...,
        param_dtype=...)`; a class of `rnnlab.CELLS` or a `functools.partial` of one with options.
      rngs: source of the parameters' keys.
      expansion: width of the cell over that of the stream.
      conv_size: taps of the causal convolution before the cell; None leaves it out.
      mlp_expansion: width of the MLP's hidden layer over that of the stream; None leaves it out.
      dropout: rate after each branch.
      variational: whether a call over time drops the same entries at all of its steps.
      dtype: dtype of the computation; None is `param_dtype`. Carries are float32 or wider.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: an option is out of range, or a call's shapes or dtypes do not fit.

    Source: arXiv 2410.01201, appendix C: RMS norm, Conv4, minRNN, MLP, each branch residual.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab.cells import MinGRU
    >>> block = Block(8, MinGRU, rngs=nnx.Rngs(0), expansion=2, conv_size=4, mlp_expansion=4)
    >>> carry, ys = block(block.initial_carry((2,)), jnp.ones((2, 5, 8)))
    >>> carry.conv.shape, carry.cell.shape, ys.shape
    ((2, 3, 8), (2, 16), (2, 5, 8))
    """

    def __init__(
        self,
        width: int,
        cell: Callable[..., nnx.Module],
        *,
        rngs: nnx.Rngs,
        expansion: int = 1,
        conv_size: int | None = None,
        mlp_expansion: int | None = None,
        dropout: float = 0.0,
        variational: bool = False,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        check_rate("dropout", dropout)
        require_positive_int(width=width, expansion=expansion)
        if mlp_expansion is not None:
            require_positive_int(mlp_expansion=mlp_expansion)
        self.in_features = width
        self.features = width
        self.dropout = dropout
        self.variational = variational
        self.dtype = compute_dtype(dtype, param_dtype)
        dtypes = {"dtype": self.dtype, "param_dtype": param_dtype}
        self.norm = RMSNorm(width, rngs=rngs, **dtypes)
        self.conv = None if conv_size is None else CausalConv(width, conv_size, rngs=rngs, **dtypes)
        self.cell = cell(width, expansion * width, rngs=rngs, **dtypes)
        self.project = nnx.Linear(self.cell.features, width, rngs=rngs, **dtypes)
        self.mlp = (
            None if mlp_expansion is None else _mlp(width, mlp_expansion * width, rngs, dtypes)
        )

    def initial_carry(self, batch_shape: Sequence[int]) -> BlockCarry:
        """The convolution's empty window and the cell's initial carry."""
        conv = () if self.conv is None else self.conv.initial_carry(batch_shape)
        return BlockCarry(conv, self.cell.initial_carry(batch_shape))

    def __call__(
        self,
        carry: BlockCarry,
        xs: Float[Array, "*batch time width"],
        *,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[BlockCarry, Float[Array, "*batch time width"]]:
        """The last carry and the outputs of all steps, 0 where masked. `key` None: no dropout."""
        carry, xs, reset, mask = checked(self, carry, xs, reset, mask, time=True)
        shared = -2 if self.variational else None
        return self._run(self.conv, self.cell, carry, xs, key, shared, reset=reset, mask=mask)

    def step(
        self,
        carry: BlockCarry,
        x: Float[Array, "*batch width"],
        *,
        reset: Bool[Array, "*batch"] | None = None,
        mask: Bool[Array, "*batch"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[BlockCarry, Float[Array, "*batch width"]]:
        """One step."""
        carry, x, reset, mask = checked(self, carry, x, reset, mask, time=False)
        conv = None if self.conv is None else self.conv.step
        return self._run(conv, self.cell.step, carry, x, key, None, reset=reset, mask=mask)

    def cell_inputs(
        self,
        carry: BlockCarry,
        xs: Float[Array, "*batch time width"],
        *,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
    ) -> Float[Array, "*batch time width"]:
        """What the cell reads when the block reads `xs`: for a look at its gates and states."""
        carry, xs, reset, mask = checked(self, carry, xs, reset, mask, time=True)
        return self._before(self.conv, carry, xs, reset, mask)[1]

    def _before(self, conv, carry, x, reset, mask):
        """The convolution's next window and the cell's input."""
        y = self.norm(x.astype(self.dtype))
        return ((), y) if conv is None else conv(carry.conv, y, reset=reset, mask=mask)

    def _run(self, conv, cell, carry, x, key, shared, *, reset, mask):
        """Both branches, over a sequence or over one step, as `conv` and `cell` are."""
        cell_key, branch_key, mlp_key = (None,) * 3 if key is None else jax.random.split(key, 3)
        window, y = self._before(conv, carry, x, reset, mask)
        options = key_option(self.cell, cell_key)
        state, y = cell(carry.cell, y, reset=reset, mask=mask, **options)
        x = x.astype(self.dtype)
        x = x + dropout(self._rows(self.project, y), self.dropout, branch_key, shared=shared)
        if self.mlp is not None:
            x = x + dropout(self._rows(self.mlp, x), self.dropout, mlp_key, shared=shared)
        return BlockCarry(window, state), zero_masked(x, mask)

    def _rows(self, layer, x):
        """`layer` over rows, all leading axes made one, as in `rnnlab.cells.validation.affine`."""
        rows = layer(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]))
        return rows.reshape(*x.shape[:-1], self.features)


def _mlp(width, hidden, rngs, dtypes):
    return nnx.Sequential(
        RMSNorm(width, rngs=rngs, **dtypes),
        nnx.Linear(width, hidden, rngs=rngs, **dtypes),
        jax.nn.gelu,
        nnx.Linear(hidden, width, rngs=rngs, **dtypes),
    )
