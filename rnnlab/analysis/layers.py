"""The cells of a model and the inputs of each."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from flax import nnx
from jax import Array
from jaxtyping import Bool

from rnnlab.layers import Block, Stack
from rnnlab.models import SequenceModel
from rnnlab.recurrent import mask_outputs


class LayerRef(NamedTuple):
    """A cell within a model.

    Attributes:
      name: "cell", or "layer 1" and so on in a stack, "layer 1.2" in a stack within it.
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
      xs: the cell's inputs, (*batch, time, in_features).
    """

    name: str
    cell: nnx.Module
    carry: Any
    xs: Array


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
    else:
        yield LayerRef(name, model, carry)


def cell_inputs(
    model: nnx.Module,
    carry: Any,
    xs: Array,
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
) -> list[CellInputs]:
    """The inputs of each cell when the model is called, from the first layer to the last.

    Args:
      model: a module that keeps the contract.
      carry, xs, reset, mask: arguments of the model's call.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import GRU, Stack
    >>> rngs = nnx.Rngs(0)
    >>> stack = Stack([GRU(3, 4, rngs=rngs), GRU(4, 5, rngs=rngs)])
    >>> [read.xs.shape for read in cell_inputs(stack, stack.initial_carry(()), jnp.ones((7, 3)))]
    [(7, 3), (7, 4)]
    """
    return list(_cell_inputs(model, carry, xs, "cell", {"reset": reset, "mask": mask}))


def _cell_inputs(
    model: nnx.Module, carry: Any, xs: Array, name: str, flags: dict[str, Array | None]
) -> Iterator[CellInputs]:
    if isinstance(model, SequenceModel):
        embedded = mask_outputs(model.embed(xs), flags["mask"])
        yield from _cell_inputs(model.body, carry.body, embedded, name, flags)
    elif isinstance(model, Stack):
        for k, (layer, state) in enumerate(zip(model.layers, carry, strict=True)):
            yield from _cell_inputs(layer, state, xs, _sublayer_name(name, k), flags)
            if k + 1 < len(model.layers):
                xs = layer(state, xs, **flags)[1]
    elif isinstance(model, Block):
        inputs = model.cell_inputs(carry, xs, **flags)
        yield from _cell_inputs(model.cell, carry.cell, inputs, name, flags)
    else:
        yield CellInputs(name, model, carry, xs)


def _sublayer_name(name: str, k: int) -> str:
    """The name of layer k of a stack: "layer 2", and in a stack within it "layer 2.1"."""
    return f"layer {k + 1}" if name == "cell" else f"{name}.{k + 1}"
