"""Several layers of a cell, in one or both directions, in one call."""

from collections.abc import Callable
from functools import partial
from typing import Any

from flax import nnx

from rnnlab.argument_errors import explain_arguments
from rnnlab.cells.nnx_cell import NNXCell
from rnnlab.layers import Bidirectional, Dropout, Stack
from rnnlab.registry import find_cell
from rnnlab.validation import require_positive_int


@explain_arguments
def stack_cells(
    cell: str | Callable[..., nnx.Module],
    in_features: int,
    features: int,
    *,
    rngs: nnx.Rngs,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    remat: bool = False,
    **options: Any,
) -> Stack:
    """Returns a stack of cells, as `torch.nn.GRU` and `torch.nn.LSTM` are.

    It has no residual branches and norms. Those are in `rnnlab.ModelConfig`, which builds whole
    models of `rnnlab.Block`.

    Args:
      cell: name in `rnnlab.CELLS`, `FILE.py:CLASS` for your own, or a class or function that is
        called as `cell(in_features, features, rngs=rngs, **options)`; also a cell class of
        `flax.nnx`.
      in_features: width of the inputs.
      features: width of each cell's output. A bidirectional layer has twice as many.
      rngs: source of the parameters' keys. With a stream named `dropout`, calls without a key draw
        one from it, see `rnnlab.layers.Dropout`.
      num_layers: number of layers.
      bidirectional: whether each layer has a second cell that reads from the end. The stack then
        has no `step`.
      dropout: dropout rate between two layers.
      remat: as in `Stack`.
      options: further arguments of the cells, such as `dtype` or `backend`.

    Raises:
      ValueError: the cell is unknown, or an argument is out of range.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> model = stack_cells("gru", 3, 64, num_layers=2, bidirectional=True, rngs=nnx.Rngs(0))
    >>> carry, ys = model(jnp.ones((2, 5, 3)))
    >>> ys.shape
    (2, 5, 128)
    """
    require_positive_int(num_layers=num_layers)
    make = partial(_cell_function(cell), rngs=rngs, **options)
    layers: list[nnx.Module] = []
    width = in_features
    for k in range(num_layers):
        if k and dropout:
            layers.append(Dropout(width, dropout, rngs=rngs))
        layer = make(width, features)
        layers.append(Bidirectional(layer, make(width, features)) if bidirectional else layer)
        width = layers[-1].features
    return Stack(layers, remat=remat)


def _cell_function(cell: str | Callable[..., nnx.Module]) -> Callable[..., nnx.Module]:
    """Returns the function that makes a cell from its sizes and options."""
    if isinstance(cell, str):
        entry = find_cell(cell)
        if entry.kind != "cell":
            raise ValueError(
                f"cell must be a recurrent cell, got the layer {cell!r}; build a model of it with "
                f"rnnlab.ModelConfig(cell={cell!r})"
            )
        cell = entry.load()
    if isinstance(cell, type) and issubclass(cell, nnx.RNNCellBase):
        return lambda *sizes, **options: NNXCell(cell(*sizes, **options))
    if not callable(cell) or isinstance(cell, nnx.Module):
        raise ValueError(
            f"cell must be a name, a class or a function, got {type(cell).__name__}; pass its "
            "class, since each layer makes a cell of its own"
        )
    return cell
