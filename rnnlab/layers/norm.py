"""Root mean square normalization."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.scan.varying import broadcast_like
from rnnlab.validation import require_positive_int

EPSILON = 1e-6


class RMSNorm(nnx.Module):
    """Divides by the root mean square over features, then scales each feature.

        y = scale * x / sqrt(mean(x**2) + 1e-6)

    The mean is computed in float32 or wider, whatever the dtype. (Flax's own norm mixes dtypes in
    16 bits, which strict dtype promotion refuses.)

    Args:
      features: width of input and output.
      rngs: unused; accepted so that all layers are constructed alike.
      dtype: dtype of the result; None means `param_dtype`.
      param_dtype: dtype of `scale`, which starts at 1.

    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", arXiv 1910.07467.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> print(RMSNorm(2, rngs=nnx.Rngs(0))(jnp.array([3.0, -3.0])).round(3))
    [ 1. -1.]
    """

    def __init__(
        self,
        features: int,
        *,
        rngs: nnx.Rngs,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        del rngs
        require_positive_int(features=features)
        self.dtype = compute_dtype(dtype, param_dtype)
        self.scale = nnx.Param(jnp.ones((features,), param_dtype))

    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch features"]:
        wide = x.astype(accumulation_dtype(self.dtype))
        inverse = jax.lax.rsqrt(jnp.mean(jnp.square(wide), -1, keepdims=True) + EPSILON)
        scale = broadcast_like(self.scale[...].astype(wide.dtype), wide)
        return (wide * inverse * scale).astype(self.dtype)
