"""A residual block of attention over a source."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Key

from rnnlab.argument_errors import explain_constructor
from rnnlab.call_arguments import BatchShape
from rnnlab.call_validation import mask_outputs
from rnnlab.dtypes import compute_dtype
from rnnlab.layers.cross_attention import CrossAttention, SourceMemory
from rnnlab.layers.dropout import Dropout
from rnnlab.layers.mlp import apply_flat, mlp
from rnnlab.layers.norm import RMSNorm
from rnnlab.validation import require_positive_int


@explain_constructor
class CrossAttentionBlock(nnx.Module):
    """A residual branch of norm, attention over a source and projection, then one of norm and MLP.

        x = x + dropout(project(attention(norm(x), source)))
        x = x + dropout(mlp(norm(x)))

    Its carry is the memory of the source, which `read` computes and which stays the same.

    Args:
      width: width of the residual stream, which is input and output, and of the attention.
      source_features: width of the source.
      rngs: source of the parameters' keys. With a stream named `dropout`, calls without a key draw
        one from a copy of it, see `rnnlab.layers.Dropout`.
      heads: number of heads; width must be a multiple of it.
      mlp_expansion: width of the MLP's hidden layer divided by `width`; None omits the MLP.
      dropout: dropout rate after each branch.
      variational: whether dropout draws one mask per call for all time steps.
      dtype: dtype of the computation; None means `param_dtype`.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: an option is out of range, or the shapes or dtypes of a call do not fit.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> block = CrossAttentionBlock(8, 5, rngs=nnx.Rngs(0), heads=2)
    >>> memory, ys = block(block.read(jnp.ones((2, 6, 5))), jnp.ones((2, 4, 8)))
    >>> ys.shape
    (2, 4, 8)
    """

    def __init__(
        self,
        width: int,
        source_features: int,
        *,
        rngs: nnx.Rngs,
        heads: int = 4,
        mlp_expansion: int | None = 4,
        dropout: float = 0.0,
        variational: bool = False,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        if mlp_expansion is not None:
            require_positive_int(mlp_expansion=mlp_expansion)
        self.width = self.in_features = self.features = width
        self.source_features = source_features
        self.heads = heads
        self.mlp_expansion = mlp_expansion
        self.dropout = dropout
        self.variational = variational
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        dtypes = {"rngs": rngs, "dtype": self.dtype, "param_dtype": param_dtype}
        self.norm = RMSNorm(width, **dtypes)
        self.attention = CrossAttention(width, width, source_features, heads=heads, **dtypes)
        self.project = nnx.Linear(width, width, **dtypes)
        self.mlp = None if mlp_expansion is None else mlp(width, mlp_expansion * width, **dtypes)
        self.drop = Dropout(width, dropout, rngs=rngs, variational=variational)

    def initial_carry(self, batch_shape: BatchShape = ()) -> SourceMemory:
        """Returns the memory of a source without positions, to which nothing is attended."""
        return self.attention.initial_carry(batch_shape)

    def read(
        self,
        source: Float[Array, "*batch positions source_features"],
        mask: Bool[Array, "*batch positions"] | None = None,
    ) -> SourceMemory:
        """Returns the memory of a source, see `CrossAttention.read`."""
        return self.attention.read(source, mask)

    def __call__(
        self,
        carry: SourceMemory,
        xs: Float[Array, "*batch time width"],
        *,
        mask: Bool[Array, "*batch time"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[SourceMemory, Float[Array, "*batch time width"]]:
        """Returns the memory as it is and the outputs of all time steps, 0 where masked.

        Args:
          carry: the memory, of the batch axes of `xs` or of size 1 in their place.
          xs: inputs.
          mask: False in padding of `xs`.
          key: randomness of dropout.
        """
        return self._run(self.attention, self.drop, carry, xs, mask, key)

    def step(
        self,
        carry: SourceMemory,
        x: Float[Array, "*batch width"],
        *,
        mask: Bool[Array, "*batch"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[SourceMemory, Float[Array, "*batch width"]]:
        """Returns the memory as it is and the output of one time step."""
        return self._run(self.attention.step, self.drop.step, carry, x, mask, key)

    def weights(
        self, carry: SourceMemory, xs: Float[Array, "*batch time width"]
    ) -> Float[Array, "*batch heads time positions"]:
        """Returns the attention weights of each head when the block reads `xs`."""
        return self.attention.weights(carry, self.norm(xs.astype(self.dtype)))

    def _run(self, attention, drop, carry, x, mask, key):
        """Both branches, over a sequence or one time step."""
        attention_key, mlp_key = (None, None) if key is None else jax.random.split(key)
        x = mask_outputs(x, mask).astype(self.dtype)
        carry, y = attention(carry, self.norm(x), mask=mask)
        x = x + drop((), apply_flat(self.project, y), key=attention_key)[1]
        if self.mlp is not None:
            x = x + drop((), apply_flat(self.mlp, x), key=mlp_key)[1]
        return carry, mask_outputs(x, mask)
