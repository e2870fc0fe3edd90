"""Attention of a sequence over another one, which is read once."""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from rnnlab.argument_errors import explain_constructor
from rnnlab.call_arguments import BatchShape, accept_batch_size
from rnnlab.call_validation import mask_outputs
from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.recurrent import dense
from rnnlab.validation import require_flags, require_floating, require_positive_int


class SourceMemory(NamedTuple):
    """The keys and values of a source, which stay the same over all time steps.

    Attributes:
      keys: (*batch, positions, features).
      values: (*batch, positions, features).
      valid: (*batch, positions), 1 at a position of the source and 0 in padding.
    """

    keys: Float[Array, "*batch positions features"]
    values: Float[Array, "*batch positions features"]
    valid: Float[Array, "*batch positions"]


@explain_constructor
class CrossAttention(nnx.Module):
    """Multi-head attention whose keys and values are those of a source with its own time axis.

        q[t] = x[t] W_q,   k[s], v[s] = source[s] W
        w[t, s] = softmax over s of q[t] . k[s] / sqrt(d)
        y[t] = sum over s of w[t, s] v[s]

    for each head of d features. `read` computes keys and values once; they are then the carry of
    all calls and stay the same, so that a step takes time in proportion to the length of the
    source, whatever has been generated before. All time steps of a call are computed in parallel.

    Positions where the mask of the source is False get no weight, and a source without any real
    position gives 0. Scores and weights are float32 or wider. The layer has no output projection:
    `CrossAttentionBlock` has one.

    Args:
      in_features: width of the inputs, from which queries are made.
      features: width of all heads together, and of the outputs.
      source_features: width of the source.
      rngs: source of the parameters' keys.
      heads: number of heads; features must be a multiple of it.
      kernel_init: initializer of `query_kernel` (in_features, features) and `source_kernel`
        (source_features, 2 * features).
      dtype: dtype of products and outputs; None means `param_dtype`. The memory is float32 or
        wider.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: features is not a multiple of heads, a size is below 1, or the shapes or dtypes of
        a call do not fit.

    Source: arXiv 1706.03762, section 3.2, "encoder-decoder attention".

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> layer = CrossAttention(3, 8, 5, rngs=nnx.Rngs(0), heads=2)
    >>> memory = layer.read(jnp.ones((2, 6, 5)))
    >>> memory, ys = layer(memory, jnp.ones((2, 4, 3)))
    >>> memory.keys.shape, ys.shape
    ((2, 6, 8), (2, 4, 8))
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        source_features: int,
        *,
        rngs: nnx.Rngs,
        heads: int = 4,
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        require_positive_int(
            in_features=in_features,
            features=features,
            source_features=source_features,
            heads=heads,
        )
        if features % heads:
            raise ValueError(
                f"features must be a multiple of heads, {heads}, got {features}; change heads"
            )
        self.in_features = in_features
        self.features = features
        self.source_features = source_features
        self.heads = heads
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        query = kernel_init(rngs.params(), (in_features, features), param_dtype)
        self.query_kernel = nnx.Param(query)
        source = kernel_init(rngs.params(), (source_features, 2 * features), param_dtype)
        self.source_kernel = nnx.Param(source)

    @accept_batch_size
    def initial_carry(self, batch_shape: BatchShape = ()) -> SourceMemory:
        """Returns the memory of a source without positions, which gives 0."""
        dtype = accumulation_dtype(self.dtype)
        empty = jnp.zeros((*batch_shape, 0, self.features), dtype)
        return SourceMemory(empty, empty, jnp.zeros((*batch_shape, 0), dtype))

    def read(
        self,
        source: Float[Array, "*batch positions source_features"],
        mask: Bool[Array, "*batch positions"] | None = None,
    ) -> SourceMemory:
        """Returns the keys and values of a source, the carry of calls.

        Args:
          source: the sequence that is attended to.
          mask: False in padding, whose values are not read.
        """
        source = jnp.asarray(source)
        require_floating(source=source)
        if source.ndim < 2 or source.shape[-1] != self.source_features:
            raise ValueError(
                "source must have shape (*batch, positions, source_features) with source_features "
                f"{self.source_features}, got {source.shape}; pass the outputs of the encoder"
            )
        mask = None if mask is None else jnp.asarray(mask)
        require_flags(source.shape[:-1], "the shape of source without features", mask=mask)
        dtype = accumulation_dtype(self.dtype)
        projected = dense(
            mask_outputs(source, mask), self.source_kernel[...], None, self.dtype
        ).astype(dtype)
        keys, values = jnp.split(projected, 2, -1)
        valid = jnp.ones(source.shape[:-1], dtype) if mask is None else mask.astype(dtype)
        return SourceMemory(keys, values, valid)

    def __call__(
        self,
        carry: SourceMemory,
        xs: Float[Array, "*batch time in_features"],
        *,
        mask: Bool[Array, "*batch time"] | None = None,
    ) -> tuple[SourceMemory, Float[Array, "*batch time features"]]:
        """Returns the memory as it is and the outputs of all time steps, 0 where masked.

        Args:
          carry: the memory, of the batch axes of `xs` or of size 1 in their place.
          xs: inputs.
          mask: False in padding of `xs`.
        """
        carry, xs, mask = self._validate(carry, xs, mask, time=True)
        weights = self._weights(carry, xs)
        ys = jnp.einsum("...hts,...shd->...thd", weights, self._heads(carry.values))
        ys = ys.reshape(*ys.shape[:-2], self.features).astype(self.dtype)
        return carry, mask_outputs(ys, mask)

    def step(
        self,
        carry: SourceMemory,
        x: Float[Array, "*batch in_features"],
        *,
        mask: Bool[Array, "*batch"] | None = None,
    ) -> tuple[SourceMemory, Float[Array, "*batch features"]]:
        """Returns the memory as it is and the output of one time step."""
        carry, x, mask = self._validate(carry, x, mask, time=False)
        carry, ys = self(carry, jnp.expand_dims(x, -2))
        return carry, mask_outputs(ys[..., 0, :], mask)

    def weights(
        self, carry: SourceMemory, xs: Float[Array, "*batch time in_features"]
    ) -> Float[Array, "*batch heads time positions"]:
        """Returns the attention weights `w[t, s]` of each head, which sum to 1 over the source."""
        carry, xs, _ = self._validate(carry, xs, None, time=True)
        return self._weights(carry, xs)

    def _weights(self, carry, xs):
        queries = dense(xs, self.query_kernel[...], None, self.dtype)
        queries = self._heads(queries.astype(carry.keys.dtype))
        scores = jnp.einsum("...thd,...shd->...hts", queries, self._heads(carry.keys))
        scores = scores / math.sqrt(self.features // self.heads)
        valid = jnp.expand_dims(carry.valid > 0.5, (-3, -2))
        # Finite, so that a source without a real position has no NaN in its gradient.
        lowest = jnp.finfo(scores.dtype).min
        scores = jnp.where(valid, scores, lowest)
        highest = jnp.max(scores, -1, keepdims=True, initial=lowest)
        terms = jnp.where(valid, jnp.exp(scores - lax.stop_gradient(highest)), 0)
        total = jnp.sum(terms, -1, keepdims=True)
        return terms / jnp.where(total > 0, total, 1)

    def _heads(self, x):
        return x.reshape(*x.shape[:-1], self.heads, self.features // self.heads)

    def _validate(self, carry: Any, x: Array, mask: Array | None, *, time: bool):
        name, x = ("xs", jnp.asarray(x)) if time else ("x", jnp.asarray(x))
        require_floating(**{name: x})
        if x.ndim < 1 + time or x.shape[-1] != self.in_features:
            layout = "(*batch, time, in_features)" if time else "(*batch, in_features)"
            raise ValueError(
                f"{name} must have shape {layout} with in_features {self.in_features}, got "
                f"{x.shape}"
            )
        mask = None if mask is None else jnp.asarray(mask)
        require_flags(x.shape[:-1], f"the shape of {name} without features", mask=mask)
        require_memory(carry, x.shape[: -2 if time else -1], self.features)
        return carry, mask_outputs(x, mask), mask


def require_memory(memory: Any, batch_shape: tuple[Any, ...], features: int) -> None:
    """Raises ValueError unless a memory fits batch axes: the same sizes, or 1 in their place."""
    if not isinstance(memory, SourceMemory):
        raise ValueError(
            f"carry must be a SourceMemory, got {type(memory).__name__}; pass the result of read"
        )
    *found, positions, width = memory.keys.shape
    fits = len(found) == len(batch_shape) and all(
        a == b or a == 1 for a, b in zip(found, batch_shape, strict=True)
    )
    if not fits or width != features or memory.valid.shape != (*found, positions):
        raise ValueError(
            f"carry must be the memory of sources of batch shape {tuple(batch_shape)} and "
            f"{features} features, got keys of shape {memory.keys.shape}; pass the result of read "
            "for these examples"
        )
