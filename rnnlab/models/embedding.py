"""The input layer of an encoder or a decoder, for token ids or values."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from rnnlab.argument_errors import explain_constructor
from rnnlab.call_validation import mask_outputs
from rnnlab.dtypes import compute_dtype
from rnnlab.validation import (
    require_flags,
    require_floating,
    require_positive_int,
    require_tokens,
)


@explain_constructor
class InputEmbedding(nnx.Module):
    """An embedding of token ids, or a dense layer of values.

    Args:
      width: width of the result.
      rngs: source of the keys of the parameters.
      vocab_size: number of token ids; None if the inputs are values.
      in_features: number of values per time step; None if the inputs are tokens.
      dtype: dtype of the result; None is `param_dtype`.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: neither or both of vocab_size and in_features are given.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> InputEmbedding(8, vocab_size=5, rngs=nnx.Rngs(0))(jnp.array([[1, 4, 0]])).shape
    (1, 3, 8)
    """

    def __init__(
        self,
        width: int,
        *,
        rngs: nnx.Rngs,
        vocab_size: int | None = None,
        in_features: int | None = None,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        if (vocab_size is None) == (in_features is None):
            raise ValueError(
                "exactly one of vocab_size (for token ids) and in_features (for values) must be "
                f"given, got vocab_size={vocab_size} and in_features={in_features}; pass one"
            )
        sizes = {"width": width, "vocab_size": vocab_size, "in_features": in_features}
        require_positive_int(**{name: size for name, size in sizes.items() if size is not None})
        self.width = width
        self.vocab_size = vocab_size
        self.in_features = in_features
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        # Embeddings of norm about 1: the residual stream then starts at the scale of the branches.
        init = nnx.initializers.normal(width**-0.5)
        self.embedding = (
            None
            if vocab_size is None
            else nnx.Param(init(rngs.params(), (vocab_size, width), param_dtype))
        )
        self.project = (
            None
            if in_features is None
            else nnx.Linear(
                in_features, width, rngs=rngs, dtype=self.dtype, param_dtype=param_dtype
            )
        )

    def __call__(
        self, xs: Float[Array, "*batch in_features"] | Int[Array, "*batch"]
    ) -> Float[Array, "*batch width"]:
        """Returns the embedded token ids or values."""
        if self.project is not None:
            return self.project(xs)
        return jnp.take(self.embedding[...], xs, axis=0, mode="clip").astype(self.dtype)

    def validate(
        self, name: str, xs: Any, mask: Bool[Array, "*batch"] | None, *, time: bool
    ) -> tuple[Array, Array | None]:
        """Returns inputs and their mask as arrays; values are 0 where masked.

        Args:
          name: of the inputs, for messages.
          xs: token ids or values.
          mask: False in padding.
          time: whether they have a time axis.

        Raises:
          ValueError: a shape or dtype does not fit, or a token id is out of range.
        """
        xs, mask = jnp.asarray(xs), None if mask is None else jnp.asarray(mask)
        axes = "*batch, time" if time else "*batch"
        if self.in_features is not None:
            require_floating(**{name: xs})
            if xs.ndim < 1 + time or xs.shape[-1] != self.in_features:
                raise ValueError(
                    f"{name} must have shape ({axes}, features) with {self.in_features} features, "
                    f"got {xs.shape}"
                )
            require_flags(xs.shape[:-1], f"the shape of {name} without features", mask=mask)
            return mask_outputs(xs, mask), mask
        if not jnp.issubdtype(xs.dtype, jnp.integer) or xs.ndim < time:
            raise ValueError(
                f"{name} must be token ids, integers of shape ({axes}), got shape {xs.shape} and "
                f"dtype {xs.dtype}"
            )
        require_flags(xs.shape, f"the shape of {name}", mask=mask)
        require_tokens(name, xs, self.vocab_size, mask)
        return xs, mask
