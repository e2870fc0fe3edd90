"""Attention weights of a model's attention layers."""

from typing import Any

from flax import nnx
from jax import Array
from jaxtyping import Bool, Float

from rnnlab.analysis.layers import cell_inputs
from rnnlab.layers import Attention


def attention_weights(
    model: nnx.Module,
    carry: Any,
    xs: Array,
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
    gaps: Float[Array, "*batch time"] | None = None,
) -> dict[str, Float[Array, "*batch heads time steps"]]:
    """The weights of every attention layer of a model, over the time steps of a call.

    Args:
      model: a module that keeps the contract; layers other than `Attention` are skipped, and
        those that read from the end.
      carry, xs, reset, mask, gaps: arguments of its call.

    Returns:
      Weights by the layer's name in `rnnlab.analysis.layers`. The weights of a time step sum to 1
      less the weight of what the carry holds, which `Attention.weights` returns as well.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import Attention, MinGRU, Stack
    >>> rngs = nnx.Rngs(0)
    >>> hybrid = Stack([MinGRU(8, 8, rngs=rngs), Attention(8, 8, rngs=rngs, heads=2, window=6)])
    >>> found = attention_weights(hybrid, hybrid.initial_carry(()), jnp.ones((5, 8)))
    >>> {name: weights.shape for name, weights in found.items()}
    {'layer 2': (2, 5, 5)}
    """
    flags = {"reset": reset, "mask": mask}
    return {
        read.name: read.cell.weights(read.carry, read.xs, **flags)[..., read.cell.window - 1 :]
        for read in cell_inputs(model, carry, xs, gaps=gaps, **flags)
        if isinstance(read.cell, Attention) and not read.reads_backward
    }
