"""Builds stacks from arrays in the layout of rnnlab, and exchanges states, for all libraries."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from rnnlab.call_validation import validate_carry
from rnnlab.cells import LSTM, LSTMCarry
from rnnlab.cells.minimal import MinimalCell
from rnnlab.cells.nonlinear import NonlinearCell
from rnnlab.interop.arrays import as_numpy
from rnnlab.layers import Bidirectional, Dropout, Stack
from rnnlab.layers.projection import Projection
from rnnlab.models.parameters import named_parameters, with_parameters
from rnnlab.validation import require_floating

STATELESS = (Dropout, Projection)
"""Layers between cells that have no states."""


class States(NamedTuple):
    """States of a stack's cells, layer by layer, the forward cell first.

    `h` has one array (*batch, features) per cell. `c` has the LSTMs' second states, with None for
    other cells, and is None if no cell is an LSTM.
    """

    h: Any
    c: Any


@dataclass(frozen=True)
class CellWeights:
    """A cell to build.

    Attributes:
      make: its class.
      arrays: its parameters by their names in rnnlab.
      options: further arguments of its constructor.
    """

    make: type[nnx.Module]
    arrays: Mapping[str, np.ndarray]
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, param_dtype: DTypeLike, **options: Any) -> nnx.Module:
        """Returns the cell, with its parameters in `param_dtype`.

        Raises:
          ValueError: that dtype is not enabled in JAX, or too narrow for a value.
        """
        dtype = jnp.dtype(param_dtype)
        if jax.dtypes.canonicalize_dtype(dtype) != dtype:
            raise ValueError(
                f"weights must have a dtype that JAX has enabled, got {dtype}; pass "
                "param_dtype='float32', or enable it with jax.config.update('jax_enable_x64', True)"
            )
        with np.errstate(over="ignore"):
            arrays = {name: x.astype(dtype) for name, x in self.arrays.items()}
        for name, x in arrays.items():
            if not np.isfinite(x).all():
                raise ValueError(
                    f"{name} of {self.make.__name__} must be finite in {dtype}, got a larger "
                    "value; pass a wider param_dtype"
                )
        kernel = arrays["kernel" if "kernel" in arrays else "candidate_kernel"]
        sizes = kernel.shape[0], kernel.shape[1] // getattr(self.make, "num_gates", 1)
        settings = {"param_dtype": dtype, **self.options, **options}
        return with_parameters(_abstract_cell(self.make, sizes, tuple(settings.items())), arrays)


@lru_cache(maxsize=64)
def _abstract_cell(
    make: type[nnx.Module], sizes: tuple[int, int], settings: tuple[tuple[str, Any], ...]
) -> nnx.Module:
    """Returns a cell with shapes in place of parameters. Cached: its initializers trace slowly."""
    return nnx.eval_shape(lambda: make(*sizes, rngs=nnx.Rngs(0), **dict(settings)))


class LayerWeights(NamedTuple):
    """A layer to build: one cell, or one per direction and how their outputs are merged."""

    forward: CellWeights
    backward: CellWeights | None = None
    merge: str = "concat"

    def build(self, **options: Any) -> nnx.Module:
        """Returns the cell, or `rnnlab.Bidirectional` of both."""
        forward = self.forward.build(**options)
        if self.backward is None:
            return forward
        return Bidirectional(forward, self.backward.build(**options), merge=self.merge)


def build_stack(layers: Sequence[LayerWeights], **options: Any) -> Stack:
    """Returns the stack of layers; `options` are those of `CellWeights.build`."""
    return Stack([layer.build(**options) for layer in layers])


def layers_of(module: nnx.Module) -> list[nnx.Module]:
    """Returns the layers of a stack that have weights of a library: not those of dropout.

    Raises:
      ValueError: module is not a stack, a cell or a bidirectional layer.
    """
    if not isinstance(module, nnx.Module) or not hasattr(module, "initial_carry"):
        raise ValueError(
            f"stack must be a Stack, a cell or a Bidirectional, got {type(module).__name__}; pass "
            "what load returned, or one built of cells"
        )
    layers = module.layers if isinstance(module, Stack) else [module]
    return [layer for layer in layers if not isinstance(layer, Dropout)]


def cells_of(layer: nnx.Module) -> list[nnx.Module]:
    """Returns the cells of a layer: one, or one per direction, the forward one first."""
    return [layer.forward, layer.backward] if isinstance(layer, Bidirectional) else [layer]


def all_cells(module: nnx.Module) -> list[nnx.Module]:
    """Returns the cells of all layers.

    Raises:
      ValueError: a layer is another one than the cells of this package.
    """
    layers = [layer for layer in layers_of(module) if not isinstance(layer, STATELESS)]
    cells = [cell for layer in layers for cell in cells_of(layer)]
    for cell in cells:
        if not isinstance(cell, NonlinearCell | MinimalCell):
            raise ValueError(
                "stack must consist of VanillaRNN, GRU, LSTM, MinGRU and MinLSTM, got a "
                f"{type(cell).__name__}; pass a stack of such cells"
            )
    return cells


def require_cell(cell: nnx.Module, allowed: Iterable[type[nnx.Module]], owner: str) -> None:
    """Raises ValueError unless a cell has a counterpart in a library, whose name is `owner`."""
    names = [make.__name__ for make in allowed]
    if type(cell).__name__ not in names:
        raise ValueError(
            f"cells must be of a class that {owner} has ({', '.join(names)}), got "
            f"{type(cell).__name__}; replace the layer"
        )
    if getattr(cell, "gap_decay", False):
        raise ValueError(
            f"gap_decay must be False, got True; {owner} has no cell that decays with time"
        )


def cell_arrays(cell: nnx.Module) -> dict[str, np.ndarray]:
    """Returns the parameters of a cell by name."""
    return {name: np.asarray(value) for name, value in named_parameters(cell).items()}


def require_zero(name: str, array: np.ndarray, reason: str) -> None:
    """Raises ValueError unless an array is 0, since the other library does not have it.

    >>> require_zero("bias", np.ones(2), "nn.GRU(bias=False) has none; pass bias=True")
    Traceback (most recent call last):
    ValueError: bias must be 0, got a value of 1; nn.GRU(bias=False) has none; pass bias=True
    """
    if np.any(array):
        largest = float(np.abs(array.astype(np.float64)).max())
        raise ValueError(f"{name} must be 0, got a value of {largest:.3g}; {reason}")


def carry(stack: nnx.Module, h0: Any, c0: Any = None) -> Any:
    """Returns the carry of a stack that holds given states, to continue a sequence.

    Args:
      stack: what `load` returned, or another stack of cells.
      h0: one state (*batch, features) per cell: layer by layer, the forward cell first. An array
        with the cells on its first axis, or a sequence of arrays.
      c0: second states of LSTMs in the same form, with None for other cells.

    Raises:
      ValueError: a state is missing, not finite, or does not fit its cell.
    """
    cells = all_cells(stack)
    lstms = [isinstance(cell, LSTM) for cell in cells]
    first = _states_by_cell("h0", h0, [True] * len(cells))
    second = _states_by_cell("c0", c0, lstms) if any(lstms) else [None] * len(cells)
    if c0 is not None and not any(lstms):
        raise ValueError("c0 must be None where no cell is an LSTM, got states; omit it")
    values = iter(zip(first, second, strict=True))

    def of_cell(cell: nnx.Module) -> Any:
        h, c = next(values)
        dtype = jnp.result_type(jax.tree.leaves(cell.initial_carry())[-1])
        h, c = (None if x is None else jnp.asarray(x, dtype) for x in (h, c))
        return h if c is None else LSTMCarry(c, h)

    result = _map_layers(stack, of_cell)
    batch_shape = jnp.shape(jax.tree.leaves(result)[0])[:-1]
    return validate_carry(stack, result, batch_shape)


def states_by_cell(stack: nnx.Module, carry: Any) -> States:
    """Returns the states in a carry as NumPy arrays, one per cell, and a second one for LSTMs.

    Args:
      stack: the stack.
      carry: its carry, as a call returned it.

    Raises:
      ValueError: the carry does not fit the stack.
    """
    leaves = jax.tree.leaves(carry)
    carry = validate_carry(stack, carry, jnp.shape(leaves[0])[:-1] if leaves else ())
    h: list[np.ndarray] = []
    c: list[np.ndarray | None] = []
    for layer, state in zip(*_layers_and_carries(stack, carry), strict=True):
        if isinstance(layer, STATELESS):
            continue
        for part in state if isinstance(layer, Bidirectional) else (state,):
            is_lstm = isinstance(part, LSTMCarry)
            h.append(np.asarray(part.h if is_lstm else part))
            c.append(np.asarray(part.c) if is_lstm else None)
    return States(tuple(h), None if all(x is None for x in c) else tuple(c))


def _states_by_cell(name: str, given: Any, needed: Sequence[bool]) -> list[np.ndarray | None]:
    if given is None:
        raise ValueError(f"{name} must have one state per cell, got None; pass it")
    values = list(given)
    if len(values) != len(needed):
        raise ValueError(
            f"{name} must have one state for each of the {len(needed)} cells, got {len(values)}; "
            "pass a sequence of arrays (*batch, features)"
        )
    found: list[np.ndarray | None] = []
    for k, (value, is_needed) in enumerate(zip(values, needed, strict=True)):
        if is_needed == (value is None):
            wanted = "a state" if is_needed else "None, since its cell is not an LSTM"
            raise ValueError(
                f"{name}[{k}] must be {wanted}, got {'None' if is_needed else 'a state'}; change it"
            )
        array = None if value is None else as_numpy(value)
        if array is not None:
            require_floating(**{f"{name}[{k}]": array})
            if not np.isfinite(array).all():
                raise ValueError(f"{name}[{k}] must be finite, got NaN or infinity; check it")
        found.append(array)
    return found


def _map_layers(stack: nnx.Module, of_cell: Callable[[nnx.Module], Any]) -> Any:
    """Returns a carry of the stack's structure, with `of_cell` of each cell in order."""

    def of_layer(layer: nnx.Module) -> Any:
        if isinstance(layer, STATELESS):
            return ()
        if isinstance(layer, Bidirectional):
            return tuple(of_cell(cell) for cell in cells_of(layer))
        return of_cell(layer)

    if isinstance(stack, Stack):
        return tuple(of_layer(layer) for layer in stack.layers)
    return of_layer(stack)


def _layers_and_carries(stack: nnx.Module, carry: Any) -> tuple[list[nnx.Module], Sequence[Any]]:
    return (list(stack.layers), carry) if isinstance(stack, Stack) else ([stack], (carry,))
