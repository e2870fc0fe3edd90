"""The recurrence of a matrix state, `S[t] = d[t] S[t-1] + k[t] v[t]^T`, by chunks of time steps.

Linear attention, retention, Mamba-2, GLA and mLSTM are such recurrences. Within a chunk the steps
read each other through products of matrices, and only the state before each chunk is kept for the
gradient, where a loop over time keeps a matrix per step.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from rnnlab.errors import explain_forward_mode
from rnnlab.scan.chunks import require_chunk, run_by_chunks
from rnnlab.scan.decayed_products import decayed_products, matmul, sums_from_start, sums_to_end
from rnnlab.scan.matrix_operands import matrix_operands


def matrix_scan(
    q: Float[Array, "*batch time heads key_features"],
    k: Float[Array, "*batch time heads key_features"],
    v: Float[Array, "*batch time heads value_features"],
    log_decay: Float[Array, "*steps"],
    s0: Float[Array, "*batch heads key_features value_features"] | None = None,
    *,
    sign: Float[Array, "*steps"] | None = None,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
    chunk: int | None = None,
) -> tuple[
    Float[Array, "*batch time heads value_features"],
    Float[Array, "*batch heads key_features value_features"],
]:
    """Solves `S[t] = d[t] S[t-1] + k[t] v[t]^T` and reads `o[t] = S[t]^T q[t]`.

    Args:
      q, k, v: queries, keys and values of each head.
      log_decay: log |d|, at most 0, per head, (*batch, time, heads), or per key feature,
        (*batch, time, heads, key_features): d then scales the rows of S.
      s0: state before the first step; None is zeros.
      sign: signs of d, 1 or -1, of the shape of `log_decay`; None is 1.
      reset: where True, the state is cleared before the step: nothing from before reaches anything
        after, NaN included, neither forward nor in the gradient.
      mask: where False, the state is kept and `o` is not meaningful.
      chunk: time steps per chunk, a power of 2; None is `rnnlab.scan.chunks.default_chunk`.

    Returns:
      The outputs `o`, in v's dtype, and the last state. States and sums are float32, or float64
      where an argument is.

    The gradient (reverse mode, of any order) recomputes each chunk from the state before it.

    Raises:
      ValueError: shapes differ, a dtype is not floating (flags: not bool), `chunk` is not a power
        of 2, or the time axis is cut over devices inside `jax.shard_map`.

    Source: arXiv 2405.21060, section 6 (one decay per head), arXiv 2312.06635, section 4 (one per
    key feature). Here exponents are sums only, see `rnnlab.scan.decayed_products`.

    >>> import jax.numpy as jnp
    >>> ones = jnp.ones((3, 1, 1))
    >>> o, state = matrix_scan(ones, ones, ones, jnp.full((3, 1), jnp.log(0.5)))
    >>> print(o[:, 0, 0], state[0])
    [1.   1.5  1.75] [[1.75]]
    """
    require_chunk(chunk)
    operands = matrix_operands(q, k, v, log_decay, s0, sign=sign, reset=reset, mask=mask, others={})
    with explain_forward_mode():
        return run_by_chunks(matrix_chunk, operands, chunk)


def matrix_chunk(state: Array, q: Array, k: Array, v: Array, g: Array) -> tuple[Array, Array]:
    """Returns the state after a chunk of `matrix_scan` and the chunk's outputs.

    Args:
      state: the state before the chunk, (*batch, heads, key_features, value_features).
      q, k, v, g: the steps of the chunk, (*batch, heads, chunk, features); g is the log decay.
    """
    from_start = sums_from_start(g)
    o = matmul(decayed_products(q, k, g), v) + matmul(q * jnp.exp(from_start), state)
    return add_outer_products(state, k, v, g), o


def add_outer_products(state: Array, k: Array, v: Array, g: Array) -> Array:
    """Returns a state after the steps of a chunk, which add the outer products of k and v."""
    kept = jnp.exp(jnp.sum(g, -2))[..., None] * state
    return kept + matmul(jnp.swapaxes(k * jnp.exp(sums_to_end(g)), -1, -2), v)
