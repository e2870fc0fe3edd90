"""A stack of layers, each reading the output of the one before."""

import itertools
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import jax
from flax import nnx

from rnnlab.call_arguments import BatchShape, require_layer
from rnnlab.call_validation import gap_option, uses_gaps
from rnnlab.layers.dropout import key_option, stored_key
from rnnlab.recurrent import Recurrent, module_dtype


class Stack(Recurrent):
    """Cells or blocks applied one after the other. A stack is a cell; its carry is a tuple.

    Args:
      layers: one or more; each reads the output of the one before.
      remat: whether the backward pass recomputes the activations inside each layer. It then stores
        only the activations between layers, for about a third more computation.

    Raises:
      ValueError: layers is empty, two layers do not fit together, or the shapes or dtypes of a call
        do not fit.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab.cells import GRU, MinGRU
    >>> rngs = nnx.Rngs(0)
    >>> stack = Stack([MinGRU(3, 8, rngs=rngs), GRU(8, 4, rngs=rngs)])
    >>> carry, ys = stack(stack.initial_carry((2,)), jnp.ones((2, 5, 3)))
    >>> len(carry), ys.shape
    (2, (2, 5, 4))
    """

    def __init__(self, layers: Sequence[nnx.Module], *, remat: bool = False):
        if isinstance(layers, nnx.Module) or not isinstance(layers, Iterable):
            raise ValueError(
                f"layers must be a list of layers, got {type(layers).__name__}; write "
                "Stack([layer, ...])"
            )
        layers = list(layers)
        if not layers:
            raise ValueError("layers must contain at least one cell or block, got none")
        for k, layer in enumerate(layers):
            require_layer(f"layers[{k}]", layer)
        for k, (below, above) in enumerate(itertools.pairwise(layers)):
            if below.features != above.in_features:
                raise ValueError(
                    f"layers[{k + 1}] must have in_features {below.features}, the features of "
                    f"layers[{k}], got {above.in_features}"
                )
        self.layers = nnx.List(layers)
        self.remat = remat
        self.in_features = layers[0].in_features
        self.features = layers[-1].features
        self.dtype = module_dtype(layers[-1])

    def initial_carry(self, batch_shape: BatchShape = ()) -> tuple[Any, ...]:
        """Returns the initial carry of each layer."""
        return tuple(layer.initial_carry(batch_shape) for layer in self.layers)

    @property
    def uses_gaps(self) -> bool:
        """Whether a layer needs the time since the previous input."""
        return any(map(uses_gaps, self.layers))

    def run_sequence(self, carry, xs, reset, mask, key, gaps=None):
        return self._run(self.layers, carry, xs, key, gaps, reset=reset, mask=mask)

    def run_step(self, carry, x, reset, mask, key, gaps=None):
        steps = [layer.step for layer in self.layers]
        return self._run(steps, carry, x, key, gaps, reset=reset, mask=mask)

    def _run(self, calls, carry, x, key, gaps, **flags):
        carries = []
        for k, (call, layer, state) in enumerate(zip(calls, self.layers, carry, strict=True)):
            layer_key = None if key is None else jax.random.fold_in(key, k)
            if layer_key is None and self.remat:
                # Drawn here, since a stream cannot be advanced while `jax.checkpoint` traces.
                layer_key = stored_key(layer)
            options = key_option(layer, layer_key) | gap_option(layer, gaps)
            call = partial(call, **flags, **options)
            state, x = jax.checkpoint(call)(state, x) if self.remat else call(state, x)
            carries.append(state)
        return tuple(carries), x
