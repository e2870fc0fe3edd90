"""Projections within heads: kernels that are block-diagonal."""

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from rnnlab.validation import require_positive_int


def require_heads(features: int, heads: int) -> None:
    """Raises ValueError unless `heads` is positive and divides `features`.

    >>> require_heads(4, 2)
    >>> require_heads(4, 3)
    Traceback (most recent call last):
    ...
    ValueError: features must be a multiple of heads, got 4 and 3; change one
    """
    require_positive_int(heads=heads)
    if features % heads:
        raise ValueError(
            f"features must be a multiple of heads, got {features} and {heads}; change one"
        )


def draw_blocks(
    init: nnx.Initializer, rngs: nnx.Rngs, heads: int, shape: tuple[int, int], dtype: DTypeLike
) -> Float[Array, "heads inputs outputs"]:
    """Returns one kernel per head, each drawn on its own, so that its fan-in is that of a head."""
    return jnp.stack([init(rngs.params(), shape, dtype) for _ in range(heads)])


def block_dense(
    x: Float[Array, "*batch features"],
    kernel: Float[Array, "heads inputs outputs"],
    bias: Float[Array, " outputs_of_all_heads"] | None,
    dtype: DTypeLike,
) -> Float[Array, "*batch outputs_of_all_heads"]:
    """Returns the product of each head's share of the features with its own kernel, in `dtype`.

    >>> import jax.numpy as jnp
    >>> kernel = jnp.array([[[1.0], [1.0]], [[2.0], [2.0]]])
    >>> print(block_dense(jnp.arange(4.0), kernel, None, jnp.float32))
    [ 1. 10.]
    """
    heads, inputs, outputs = kernel.shape
    x = x.astype(dtype).reshape(*x.shape[:-1], heads, inputs)
    y = jnp.einsum("...hi,hio->...ho", x, kernel.astype(dtype))
    y = y.reshape(*y.shape[:-2], heads * outputs)
    if bias is None:
        return y
    return y + bias.astype(dtype).reshape((1,) * (y.ndim - 1) + (-1,))
