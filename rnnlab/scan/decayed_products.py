"""Products of the time steps of a chunk, decayed by the gates between them.

    A[i, j] = sum over d of rows[i, d] columns[j, d] exp(g[j+1, d] + ... + g[i, d])   for j <= i

The exponents are sums of log decays, all of which are <= 0. Nothing is subtracted: a difference of
two cumulative sums loses digits where decays are small, and is NaN where one is zero, that is `g`
minus infinity. With sums only, minus infinity is legal, and it is how a reset reaches a chunk.
"""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float


def decayed_products(
    rows: Float[Array, "*batch chunk features"],
    columns: Float[Array, "*batch chunk features"],
    log_decay: Float[Array, "*batch chunk decays"],
    *,
    strict: bool = False,
) -> Float[Array, "*batch chunk chunk"]:
    """Returns A of the module's docstring, 0 above the diagonal.

    Args:
      rows, columns: features of each time step.
      log_decay: g, with one decay for all features or one for each. In the second case the number
        of time steps is a power of 2.
      strict: whether the diagonal is 0 too.

    Source: one decay: arXiv 2405.21060, listing 1 (segment sums). One per feature: the same sums,
    halving the chunk: those of the right half start at its first step, those of the left half end
    at its last one, and a product joins them.

    >>> import jax.numpy as jnp
    >>> ones, half = jnp.ones((3, 1)), jnp.full((3, 1), jnp.log(0.5))
    >>> print(decayed_products(ones, ones, half))
    [[1.   0.   0.  ]
     [0.5  1.   0.  ]
     [0.25 0.5  1.  ]]
    """
    if log_decay.shape[-1] == 1:
        products = matmul(rows, jnp.swapaxes(columns, -1, -2))
        return products * jnp.exp(_segment_sums(log_decay[..., 0], strict))
    diagonal = jnp.sum(rows * columns, -1)[..., None, None]
    return _halves(rows, columns, log_decay, jnp.zeros_like(diagonal) if strict else diagonal)


def matmul(x: Array, y: Array) -> Array:
    """Returns `x @ y` in full precision, as states need it on accelerators."""
    return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)


def sums_from_start(log_decay: Array) -> Array:
    """Returns the sums of the log decays from the first step to each, inclusive."""
    return lax.cumsum(log_decay, log_decay.ndim - 2)


def sums_to_end(log_decay: Array) -> Array:
    """Returns the sums of the log decays after each step, up to the last."""
    after = jnp.concatenate([log_decay[..., 1:, :], jnp.zeros_like(log_decay[..., :1, :])], -2)
    return lax.cumsum(after, after.ndim - 2, reverse=True)


def _segment_sums(g: Array, strict: bool) -> Array:
    """Returns g[j+1] + ... + g[i] at (i, j), minus infinity where j > i, or also j == i."""
    size = g.shape[-1]
    later = jnp.tri(size, k=-1, dtype=bool)
    terms = jnp.where(later, jnp.broadcast_to(g[..., None], (*g.shape, size)), 0)
    shown = later if strict else jnp.tri(size, dtype=bool)
    return jnp.where(shown, lax.cumsum(terms, terms.ndim - 2), -jnp.inf)


def _halves(rows: Array, columns: Array, g: Array, blocks: Array) -> Array:
    """Joins the products of neighboring blocks, (*batch, count, size, size), until one is left."""
    count, size = blocks.shape[-3], blocks.shape[-1]
    if count == 1:
        return blocks[..., 0, :, :]

    def halves(x):
        x = x.reshape(*x.shape[:-2], count // 2, 2, size, x.shape[-1])
        return x[..., 0, :, :], x[..., 1, :, :]

    (_, right), (left, _), (left_g, right_g) = halves(rows), halves(columns), halves(g)
    right = right * jnp.exp(sums_from_start(right_g))
    left = left * jnp.exp(sums_to_end(left_g))
    below = matmul(right, jnp.swapaxes(left, -1, -2))
    pairs = blocks.reshape(*blocks.shape[:-3], count // 2, 2, size, size)
    first, second = pairs[..., 0, :, :], pairs[..., 1, :, :]
    top = jnp.concatenate([first, jnp.zeros_like(first)], -1)
    return _halves(
        rows, columns, g, jnp.concatenate([top, jnp.concatenate([below, second], -1)], -2)
    )
