"""The delta rule: a matrix state in which each step replaces what its key reads.

    S[t] = d[t] S[t-1] + k[t] u[t]^T,   u[t] = beta[t] (v[t] - (d[t] S[t-1])^T k[t])

DeltaNet, Gated DeltaNet and KDA are such recurrences. Within a chunk, u is the solution of a
triangular system: what a step reads depends on the steps before it. The system is solved by
substitution. The product of its powers, which needs fewer steps, loses all digits where a key
repeats.
"""

import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular
from jaxtyping import Bool, Float

from rnnlab.errors import explain_forward_mode
from rnnlab.scan.chunks import require_chunk, run_by_chunks
from rnnlab.scan.decayed_products import decayed_products, matmul, sums_from_start
from rnnlab.scan.matrix import add_outer_products
from rnnlab.scan.matrix_operands import matrix_operands


def delta_scan(
    q: Float[Array, "*batch time heads key_features"],
    k: Float[Array, "*batch time heads key_features"],
    v: Float[Array, "*batch time heads value_features"],
    log_decay: Float[Array, "*steps"],
    beta: Float[Array, "*batch time heads"],
    s0: Float[Array, "*batch heads key_features value_features"] | None = None,
    *,
    erase: Float[Array, "*batch time heads key_features"] | None = None,
    sign: Float[Array, "*steps"] | None = None,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
    chunk: int | None = None,
) -> tuple[
    Float[Array, "*batch time heads value_features"],
    Float[Array, "*batch heads key_features value_features"],
]:
    """Solves the recurrence of the module's docstring and reads `o[t] = S[t]^T q[t]`.

    Args:
      q, k, v: queries, keys and values of each head. It is stable for keys of length 1 and beta in
        [0, 2].
      log_decay, s0, sign, reset, mask, chunk: as in `matrix_scan`.
      beta: rate at which the state moves towards v at the key.
      erase: factors of k in what a step reads, in place of beta:
        `u[t] = beta[t] v[t] - (d[t] S[t-1])^T (erase[t] k[t])`.

    Returns:
      The outputs `o`, in v's dtype, and the last state, as `matrix_scan`.

    Raises:
      ValueError: as `matrix_scan`.

    Source: arXiv 2406.06484, section 3 (chunks), arXiv 2412.06464, section 3 (with a decay per
    head), arXiv 2510.26692, section 3 (with one per key feature).

    >>> import jax.numpy as jnp
    >>> ones = jnp.ones((3, 1, 1))
    >>> o, state = delta_scan(ones, ones, 4 * ones, jnp.zeros((3, 1)), jnp.full((3, 1), 0.5))
    >>> print(o[:, 0, 0], state[0])
    [2.  3.  3.5] [[3.5]]
    """
    require_chunk(chunk)
    others = {"beta": beta} if erase is None else {"beta": beta, "erase": erase}
    operands = matrix_operands(
        q, k, v, log_decay, s0, sign=sign, reset=reset, mask=mask, others=others
    )
    with explain_forward_mode():
        return run_by_chunks(delta_chunk, operands, chunk)


def delta_chunk(
    state: Array, q: Array, k: Array, v: Array, beta: Array, *erase_and_decay: Array
) -> tuple[Array, Array]:
    """Returns the state after a chunk of `delta_scan` and the chunk's outputs.

    Args:
      state: the state before the chunk, (*batch, heads, key_features, value_features).
      q, k, v, beta, erase_and_decay: the steps of the chunk, (*batch, heads, chunk, features), the
        factors `erase` only where they are not beta.
    """
    *erase, g = erase_and_decay
    reading = (erase[0] if erase else beta) * k
    from_start = jnp.exp(sums_from_start(g))
    values = beta * v - matmul(reading * from_start, state)
    mixing = decayed_products(reading, k, g, strict=True)
    u = solve_triangular(mixing, values, lower=True, unit_diagonal=True)
    o = matmul(decayed_products(q, k, g), u) + matmul(q * from_start, state)
    return add_outer_products(state, k, u, g), o
