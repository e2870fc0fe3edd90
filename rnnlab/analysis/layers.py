"""The cells of a model and the inputs of each."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from flax import nnx
from jax import Array
from jaxtyping import Bool, Float

from rnnlab.analysis._batching import call_options
from rnnlab.call_validation import gap_option, mask_outputs, uses_gaps
from rnnlab.layers import Bidirectional, Block, Stack
from rnnlab.layers.bidirectional import reverse_gaps, reverse_resets, reverse_time
from rnnlab.models import SequenceModel

FORWARD, BACKWARD = "forward", "backward"
"""Directions in the names of a bidirectional layer's cells."""


class LayerRef(NamedTuple):
    """A cell within a model.

    Attributes:
      name: "cell", or "layer 1" and so on in a stack, "layer 1.2" in a stack within it. The cells
        of a `Bidirectional` are "layer 1 forward" and "layer 1 backward".
      cell: the cell itself.
      carry: its part of the model's carry, or of any tree of the same structure.
    """

    name: str
    cell: nnx.Module
    carry: Any


class CellInputs(NamedTuple):
    """A cell within a model and the arguments of its call when the model is called.

    Attributes:
      name, cell, carry: as in `LayerRef`.
      xs: the cell's inputs, (*batch, time, in_features), in the order in which it reads them.
      gaps: (*batch, time), the time since the input that the cell read before; None where it does
        not use gaps.
    """

    name: str
    cell: nnx.Module
    carry: Any
    xs: Array
    gaps: Array | None = None

    @property
    def options(self) -> dict[str, Array]:
        """Keyword arguments of the cell's call: `gaps` where it uses them."""
        return {} if self.gaps is None else {"gaps": self.gaps}

    @property
    def reads_backward(self) -> bool:
        """Whether the cell reads sequences from their end."""
        return reads_backward(self.name)


def layers(model: nnx.Module, carry: Any) -> list[LayerRef]:
    """The cells of a model, block, stack or cell, from the first layer to the last.

    Args:
      model: a module that keeps the contract.
      carry: the model's carry, or a tree of its structure, such as gradients.

    >>> from flax import nnx
    >>> from rnnlab import GRU, Block, MinGRU, Stack
    >>> rngs = nnx.Rngs(0)
    >>> stack = Stack([Block(4, MinGRU, rngs=rngs), GRU(4, 4, rngs=rngs)])
    >>> found = layers(stack, stack.initial_carry(()))
    >>> [(name, type(cell).__name__, carry.shape) for name, cell, carry in found]
    [('layer 1', 'MinGRU', (4,)), ('layer 2', 'GRU', (4,))]
    """
    return list(_layers(model, carry, "cell"))


def _layers(model: nnx.Module, carry: Any, name: str) -> Iterator[LayerRef]:
    if isinstance(model, SequenceModel):
        yield from _layers(model.body, carry.body, name)
    elif isinstance(model, Stack):
        for k, (layer, state) in enumerate(zip(model.layers, carry, strict=True)):
            yield from _layers(layer, state, _sublayer_name(name, k))
    elif isinstance(model, Block):
        yield from _layers(model.cell, carry.cell, name)
    elif isinstance(model, Bidirectional):
        yield from _layers(model.forward, carry[0], f"{name} {FORWARD}")
        yield from _layers(model.backward, carry[1], f"{name} {BACKWARD}")
    else:
        yield LayerRef(name, model, carry)


def cell_inputs(
    model: nnx.Module,
    carry: Any,
    xs: Array,
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
    gaps: Float[Array, "*batch time"] | None = None,
) -> list[CellInputs]:
    """The inputs of each cell when the model is called, from the first layer to the last.

    Args:
      model: a module that keeps the contract.
      carry, xs, reset, mask, gaps: arguments of the model's call.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import GRU, Stack
    >>> rngs = nnx.Rngs(0)
    >>> stack = Stack([GRU(3, 4, rngs=rngs), GRU(4, 5, rngs=rngs)])
    >>> [read.xs.shape for read in cell_inputs(stack, stack.initial_carry(()), jnp.ones((7, 3)))]
    [(7, 3), (7, 4)]
    """
    flags = {"reset": reset, "mask": mask}
    gaps = call_options(model, xs, **flags, gaps=gaps).get("gaps")
    return list(_cell_inputs(model, carry, xs, gaps, "cell", flags))


def _cell_inputs(
    model: nnx.Module,
    carry: Any,
    xs: Array,
    gaps: Array | None,
    name: str,
    flags: dict[str, Array | None],
) -> Iterator[CellInputs]:
    if isinstance(model, SequenceModel):
        embedded = mask_outputs(model.embed(xs), flags["mask"])
        yield from _cell_inputs(model.body, carry.body, embedded, gaps, name, flags)
    elif isinstance(model, Stack):
        for k, (layer, state) in enumerate(zip(model.layers, carry, strict=True)):
            yield from _cell_inputs(layer, state, xs, gaps, _sublayer_name(name, k), flags)
            if k + 1 < len(model.layers):
                xs = layer(state, xs, **flags, **gap_option(layer, gaps))[1]
    elif isinstance(model, Block):
        inputs = model.cell_inputs(carry, xs, **flags)
        yield from _cell_inputs(model.cell, carry.cell, inputs, gaps, name, flags)
    elif isinstance(model, Bidirectional):
        yield from _cell_inputs(model.forward, carry[0], xs, gaps, f"{name} {FORWARD}", flags)
        reset, mask = flags["reset"], flags["mask"]
        gaps = None if gaps is None else reverse_gaps(gaps, reset, mask)
        reset = None if reset is None else reverse_resets(reset, mask)
        flags, xs = {"reset": reset, "mask": mask}, reverse_time(xs, mask)
        yield from _cell_inputs(model.backward, carry[1], xs, gaps, f"{name} {BACKWARD}", flags)
    else:
        yield CellInputs(name, model, carry, xs, gaps if uses_gaps(model) else None)


def reads_backward(name: str) -> bool:
    """Returns whether the cell of a name in `layers` reads sequences from their end.

    >>> reads_backward("layer 1 forward"), reads_backward("layer 1 backward")
    (False, True)
    """
    return name.split().count(BACKWARD) % 2 == 1


def map_cells(model: nnx.Module, wrap: Callable[[nnx.Module], nnx.Module]) -> nnx.Module:
    """Replaces the cells of a model in the order of `layers`, and returns it.

    Args:
      model: a module that keeps the contract. It is changed; a bare cell is not.
      wrap: returns the replacement of a cell, with its interface.
    """
    if isinstance(model, SequenceModel):
        model.body = map_cells(model.body, wrap)
    elif isinstance(model, Stack):
        for k, layer in enumerate(model.layers):
            model.layers[k] = map_cells(layer, wrap)
    elif isinstance(model, Block):
        model.cell = map_cells(model.cell, wrap)
    elif isinstance(model, Bidirectional):
        model.forward = map_cells(model.forward, wrap)
        model.backward = map_cells(model.backward, wrap)
    else:
        return wrap(model)
    return model


def _sublayer_name(name: str, k: int) -> str:
    """The name of layer k of a stack: "layer 2", and in a stack within it "layer 2.1"."""
    return f"layer {k + 1}" if name == "cell" else f"{name}.{k + 1}"
