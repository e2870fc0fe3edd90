"""A residual block around a cell."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from rnnlab.call_arguments import BatchShape, require_layer
from rnnlab.call_validation import gap_option, uses_gaps, validate_call
from rnnlab.dtypes import compute_dtype
from rnnlab.layers.conv import CausalConv
from rnnlab.layers.dropout import DropoutLayer, key_option
from rnnlab.layers.mlp import apply_flat, mlp
from rnnlab.layers.norm import RMSNorm
from rnnlab.validation import require_positive_int


class BlockCarry(NamedTuple):
    """Carry of a block: the window of its convolution, () without one, and its cell's carry."""

    conv: Any
    cell: Any


class Block(DropoutLayer):
    """A residual branch of norm, convolution, cell and projection, then one of norm and MLP.

        x = x + dropout(project(cell(conv(norm(x)))))
        x = x + dropout(mlp(norm(x)))

    A block fulfills the cell contract. A reset also clears the window of the convolution. With a
    convolution, `mask` must be right padding.

    Args:
      width: width of the residual stream, which is input and output.
      cell: function that returns the cell, called as `cell(width, cell_features, rngs=...,
        dtype=..., param_dtype=...)`: a class of `rnnlab.CELLS`, or a `functools.partial` of one;
        or a cell whose `in_features` is width.
      rngs: source of the parameters' keys. With a stream named `dropout`, calls without a key draw
        one from a copy of it, see `rnnlab.layers.Dropout`.
      expansion: width of the cell divided by `width`.
      cell_features: width of the cell where it is not a multiple of `width`, as after pruning; None
        is `expansion * width`.
      conv_kernel_size: taps of the causal convolution before the cell; None omits it.
      mlp_expansion: width of the MLP's hidden layer divided by `width`; None omits the MLP.
      dropout: dropout rate after each branch. A call needs a key, or the block a stream.
      variational: whether dropout draws one mask per call for all time steps.
      dtype: dtype of the computation; None means `param_dtype`. Carries are float32 or wider.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: an option is out of range, the shapes or dtypes of a call do not fit, or a call in
        training mode has no key.

    Source: arXiv 2410.01201, appendix C: RMS norm, Conv4, minRNN, MLP, each branch residual.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab.cells import MinGRU
    >>> block = Block(8, MinGRU, rngs=nnx.Rngs(0), expansion=2, conv_kernel_size=4, mlp_expansion=4)
    >>> carry, ys = block(block.initial_carry((2,)), jnp.ones((2, 5, 8)))
    >>> carry.conv.shape, carry.cell.shape, ys.shape
    ((2, 3, 8), (2, 16), (2, 5, 8))
    """

    def __init__(
        self,
        width: int,
        cell: Callable[..., nnx.Module] | nnx.Module,
        *,
        rngs: nnx.Rngs,
        expansion: int = 1,
        cell_features: int | None = None,
        conv_kernel_size: int | None = None,
        mlp_expansion: int | None = None,
        dropout: float = 0.0,
        variational: bool = False,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        super().__init__(dropout, rngs)
        require_positive_int(width=width, expansion=expansion)
        if cell_features is not None:
            require_positive_int(cell_features=cell_features)
        if mlp_expansion is not None:
            require_positive_int(mlp_expansion=mlp_expansion)
        self.in_features = width
        self.features = width
        self.mlp_expansion = mlp_expansion
        self.variational = variational
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        dtypes = {"dtype": self.dtype, "param_dtype": param_dtype}
        self.norm = RMSNorm(width, rngs=rngs, **dtypes)
        self.conv = (
            None
            if conv_kernel_size is None
            else CausalConv(width, conv_kernel_size, rngs=rngs, **dtypes)
        )
        if not isinstance(cell, nnx.Module):
            if not callable(cell):
                raise ValueError(
                    f"cell must be a class, a function or a cell, got {cell!r}; pass one such as "
                    "rnnlab.MinGRU"
                )
            features = expansion * width if cell_features is None else cell_features
            cell = cell(width, features, rngs=rngs, **dtypes)
        require_layer("cell", cell)
        if cell.in_features != width:
            raise ValueError(f"cell must have in_features {width}, got {cell.in_features}")
        self.cell = cell
        self.project = nnx.Linear(self.cell.features, width, rngs=rngs, **dtypes)
        branch = partial(mlp, rngs=rngs, **dtypes)
        self.mlp = None if mlp_expansion is None else branch(width, mlp_expansion * width)

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return self.features

    @property
    def conv_kernel_size(self) -> int | None:
        """Number of taps of the convolution, None without one."""
        return None if self.conv is None else self.conv.kernel_size

    def initial_carry(self, batch_shape: BatchShape = ()) -> BlockCarry:
        """Returns the empty window of the convolution and the initial carry of the cell."""
        conv = () if self.conv is None else self.conv.initial_carry(batch_shape)
        return BlockCarry(conv, self.cell.initial_carry(batch_shape))

    @property
    def uses_gaps(self) -> bool:
        """Whether the cell needs the time since the previous input."""
        return uses_gaps(self.cell)

    def run_sequence(self, carry, xs, reset, mask, key, gaps=None):
        time_axis = -2 if self.variational else None
        flags = {"reset": reset, "mask": mask}
        return self._run(self.conv, self.cell, carry, xs, key, time_axis, gaps, **flags)

    def run_step(self, carry, x, reset, mask, key, gaps=None):
        conv = None if self.conv is None else self.conv.step
        return self._run(conv, self.cell.step, carry, x, key, None, gaps, reset=reset, mask=mask)

    def cell_inputs(
        self,
        carry: BlockCarry,
        xs: Float[Array, "*batch time width"],
        *,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
    ) -> Float[Array, "*batch time width"]:
        """Returns the inputs of the cell when the block reads `xs`, to inspect gates and states."""
        carry, xs, reset, mask = validate_call(self, carry, xs, reset, mask, time=True)
        return self._cell_input(self.conv, carry, xs, reset, mask)[1]

    def _cell_input(self, conv, carry, x, reset, mask):
        """The next window of the convolution and the input of the cell."""
        y = self.norm(x.astype(self.dtype))
        return ((), y) if conv is None else conv(carry.conv, y, reset=reset, mask=mask)

    def _run(self, conv, cell, carry, x, key, time_axis, gaps, *, reset, mask):
        """Both branches, over a sequence or one time step, depending on `conv` and `cell`."""
        key = self.dropout_key(key)
        cell_key, branch_key, mlp_key = (None,) * 3 if key is None else jax.random.split(key, 3)
        window, y = self._cell_input(conv, carry, x, reset, mask)
        options = key_option(self.cell, cell_key) | gap_option(self.cell, gaps)
        state, y = cell(carry.cell, y, reset=reset, mask=mask, **options)
        x = x.astype(self.dtype)
        y = apply_flat(self.project, y)
        x = x + self.drop(y, branch_key, broadcast_axis=time_axis)
        if self.mlp is not None:
            y = apply_flat(self.mlp, x)
            x = x + self.drop(y, mlp_key, broadcast_axis=time_axis)
        return BlockCarry(window, state), x
