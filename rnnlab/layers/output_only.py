"""A module of the contract as a function from inputs to outputs, without a carry."""

from typing import Any

from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Key

from rnnlab.call_arguments import RandomSource, require_layer


class OutputOnly(nnx.Module):
    """Calls a cell, layer or model from its initial carry and returns only the outputs.

    It has the role of `flax.nnx.RNN`, for example in `flax.nnx.Sequential`. A bare cell does not
    fit there: it returns a tuple, which `nnx.Sequential` passes to the next layer as its carry and
    inputs.

    Args:
      module: a cell, layer or model.

    Raises:
      ValueError: module is not one of these.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import GRU, MinGRU
    >>> rngs = nnx.Rngs(0)
    >>> layers = OutputOnly(MinGRU(3, 8, rngs=rngs)), OutputOnly(GRU(8, 4, rngs=rngs))
    >>> nnx.Sequential(*layers, nnx.Linear(4, 2, rngs=rngs))(jnp.ones((5, 7, 3))).shape
    (5, 7, 2)
    """

    def __init__(self, module: nnx.Module):
        require_layer("module", module)
        self.module = module
        self.in_features = module.in_features
        self.features = module.features

    def __call__(
        self,
        xs: Array,
        *,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
        gaps: Float[Array, "*batch time"] | None = None,
        key: Key[Array, ""] | None = None,
        rngs: RandomSource | None = None,
    ) -> Array:
        """Returns the outputs of all time steps. Arguments are those of a cell's call."""
        given = {"gaps": gaps, "key": key, "rngs": rngs}
        options: dict[str, Any] = {name: x for name, x in given.items() if x is not None}
        carry = self.module.initial_carry(self._batch_shape(xs))
        return self.module(carry, xs, reset=reset, mask=mask, **options)[1]

    def _batch_shape(self, xs: Array) -> tuple[Any, ...]:
        is_tokens = getattr(self.module, "vocab_size", None) is not None
        return xs.shape[: -1 if is_tokens else -2]
