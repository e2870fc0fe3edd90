"""A stack of layers that alternate with attention over a source."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Key

from rnnlab.argument_errors import explain_constructor
from rnnlab.call_arguments import BatchShape, accept_batch_size, require_layer
from rnnlab.call_validation import uses_gaps
from rnnlab.layers.cross_attention import SourceMemory
from rnnlab.layers.cross_attention_block import CrossAttentionBlock
from rnnlab.layers.dropout import key_option, stored_key
from rnnlab.recurrent import module_dtype


class DecoderCarry(NamedTuple):
    """The carries of the layers, which change over time, and what they attend to, which does not.

    Attributes:
      layers: the carry of each layer.
      memory: the memory of the source of each attention block.
    """

    layers: tuple[Any, ...]
    memory: tuple[SourceMemory, ...]


@explain_constructor
class DecoderStack(nnx.Module):
    """Layers one after the other, each followed by attention over a source.

        x = attention[k](layers[k](x), source)   for k = 0, 1, ...

    Args:
      layers: cells or blocks whose outputs do not depend on later inputs.
      attention: the attention block behind each of them.
      remat: whether the backward pass recomputes the activations inside each layer and its
        attention.

    Raises:
      ValueError: the numbers of layers and attention blocks differ, two of them do not fit
        together, or a layer uses the time between inputs.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import MinGRU
    >>> rngs = nnx.Rngs(0)
    >>> stack = DecoderStack(
    ...     [MinGRU(8, 8, rngs=rngs)], [CrossAttentionBlock(8, 5, rngs=rngs, heads=2)]
    ... )
    >>> carry = stack.initial_carry(2)._replace(memory=stack.read(jnp.ones((2, 6, 5))))
    >>> carry, ys = stack(carry, jnp.ones((2, 4, 8)))
    >>> ys.shape
    (2, 4, 8)
    """

    def __init__(
        self,
        layers: Sequence[nnx.Module],
        attention: Sequence[CrossAttentionBlock],
        *,
        remat: bool = False,
    ):
        layers, attention = _listed("layers", layers), _listed("attention", attention)
        if not layers or len(layers) != len(attention):
            raise ValueError(
                "attention must have one block for each of at least one layer, got "
                f"{len(attention)} for {len(layers)} layers; pass as many"
            )
        for k, (layer, block) in enumerate(zip(layers, attention, strict=True)):
            require_layer(f"layers[{k}]", layer)
            if {layer.features, block.features} != {layers[0].in_features} or (
                layer.in_features != layer.features
            ):
                raise ValueError(
                    f"layers[{k}] and attention[{k}] must be {layers[0].in_features} wide, got "
                    f"{layer.in_features}, {layer.features} and {block.features}; use one width"
                )
            if uses_gaps(layer):
                raise ValueError(
                    f"layers[{k}] must not use the time between inputs, which a decoder does not "
                    "have; make its cell with gap_decay=False"
                )
        self.layers = nnx.List(layers)
        self.attention = nnx.List(attention)
        self.remat = remat
        self.in_features = self.features = layers[0].in_features
        self.source_features = attention[0].source_features
        self.dtype = module_dtype(attention[-1])

    @accept_batch_size
    def initial_carry(self, batch_shape: BatchShape = ()) -> DecoderCarry:
        """Returns the initial carries of the layers, and memories of sources without positions."""
        return DecoderCarry(
            tuple(layer.initial_carry(batch_shape) for layer in self.layers),
            tuple(block.initial_carry(batch_shape) for block in self.attention),
        )

    def read(
        self,
        source: Float[Array, "*batch positions source_features"],
        mask: Bool[Array, "*batch positions"] | None = None,
    ) -> tuple[SourceMemory, ...]:
        """Returns what each attention block keeps of a source."""
        return tuple(block.read(source, mask) for block in self.attention)

    def __call__(
        self,
        carry: DecoderCarry,
        xs: Float[Array, "*batch time features"],
        *,
        mask: Bool[Array, "*batch time"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[DecoderCarry, Float[Array, "*batch time features"]]:
        """Returns the carry and the outputs of all time steps, 0 where masked."""
        return self._run(self.layers, self.attention, carry, xs, mask, key)

    def step(
        self,
        carry: DecoderCarry,
        x: Float[Array, "*batch features"],
        *,
        mask: Bool[Array, "*batch"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[DecoderCarry, Float[Array, "*batch features"]]:
        """Returns the carry and the output of one time step."""
        layers = [layer.step for layer in self.layers]
        attention = [block.step for block in self.attention]
        return self._run(layers, attention, carry, x, mask, key)

    def weights(
        self,
        carry: DecoderCarry,
        xs: Float[Array, "*batch time features"],
        *,
        mask: Bool[Array, "*batch time"] | None = None,
    ) -> tuple[Float[Array, "*batch heads time positions"], ...]:
        """Returns the attention weights of each block when the stack reads `xs`."""
        found = []
        for layer, block, state, memory in zip(self.layers, self.attention, *carry, strict=True):
            xs = layer(state, xs, mask=mask)[1]
            found.append(block.weights(memory, xs))
            xs = block(memory, xs, mask=mask)[1]
        return tuple(found)

    def _run(self, layers, attention, carry, x, mask, key):
        """All layers, over a sequence or one time step."""
        states = []
        for k, layer in enumerate(self.layers):
            layer_key = None if key is None else jax.random.fold_in(key, k)
            if layer_key is None and self.remat:
                # Drawn here, since a stream cannot be advanced while `jax.checkpoint` traces.
                layer_key = stored_key(layer)
            keys = (None, None) if layer_key is None else jax.random.split(layer_key)
            run = partial(
                _run_pair,
                partial(layers[k], mask=mask, **key_option(layer, keys[0])),
                partial(attention[k], mask=mask, key=keys[1]),
            )
            run = jax.checkpoint(run) if self.remat else run
            state, x = run(carry.layers[k], carry.memory[k], x)
            states.append(state)
        return DecoderCarry(tuple(states), carry.memory), x


def _run_pair(layer, attention, state, memory, x):
    state, x = layer(state, x)
    return state, attention(memory, x)[1]


def _listed(name: str, layers: Any) -> list[nnx.Module]:
    if isinstance(layers, nnx.Module) and not isinstance(layers, nnx.List):
        raise ValueError(f"{name} must be a list, got {type(layers).__name__}; put it into one")
    if not isinstance(layers, Iterable):
        raise ValueError(f"{name} must be a list, got {type(layers).__name__}; put it into one")
    return list(layers)
