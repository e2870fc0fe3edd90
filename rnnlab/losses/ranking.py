"""Losses that rank a target above a sample of other items, as GRU4Rec uses them.

Both weigh each sampled item by the softmax of the scores of the sample, so that the gradient comes
from the items that rank near the target, however many others are sampled.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float


def bpr_max(
    target: Float[Array, "*batch"],
    others: Float[Array, "*batch samples"],
    counts: Bool[Array, "*batch samples"] | None = None,
    *,
    score_penalty: float = 1.0,
) -> Float[Array, "*batch"]:
    """Returns BPR-max with its penalty of the scores.

        -log sum_j s[j] sigmoid(r - r[j]) + score_penalty sum_j s[j] r[j]^2,   s = softmax(r[j])

    Args:
      target: r, the score of the target.
      others: r[j], the scores of sampled items.
      counts: which of them count, such as those that are not the target; None: all. Where none
        counts the loss is 0.
      score_penalty: factor of the second term.

    Source: Hidasi and Karatzoglou, arXiv 1706.03847, section 3.3 (BPR-max with regularization).

    >>> import jax.numpy as jnp
    >>> print(bpr_max(jnp.zeros(()), jnp.zeros(3)).round(4))  # -log sigmoid(0)
    0.6931
    """
    others, log_shares, any_counts = _log_shares(others, counts)
    margins = jax.nn.log_sigmoid(target[..., None] - others)
    nats = -jax.nn.logsumexp(log_shares + margins, axis=-1)
    penalty = jnp.sum(jnp.exp(log_shares) * jnp.square(others), axis=-1)
    return jnp.where(any_counts, nats + score_penalty * penalty, 0)


def top1_max(
    target: Float[Array, "*batch"],
    others: Float[Array, "*batch samples"],
    counts: Bool[Array, "*batch samples"] | None = None,
) -> Float[Array, "*batch"]:
    """Returns TOP1-max.

        sum_j s[j] (sigmoid(r[j] - r) + sigmoid(r[j]^2)),   s = softmax(r[j])

    Args:
      target: r, the score of the target.
      others: r[j], the scores of sampled items.
      counts: as in `bpr_max`.

    Source: Hidasi and Karatzoglou, arXiv 1706.03847, section 3.3 (TOP1-max).

    >>> import jax.numpy as jnp
    >>> print(top1_max(jnp.zeros(()), jnp.zeros(3)).round(4))  # sigmoid(0) + sigmoid(0)
    1.0
    """
    others, log_shares, any_counts = _log_shares(others, counts)
    terms = jax.nn.sigmoid(others - target[..., None]) + jax.nn.sigmoid(jnp.square(others))
    return jnp.where(any_counts, jnp.sum(jnp.exp(log_shares) * terms, axis=-1), 0)


def _log_shares(others: Array, counts: Array | None) -> tuple[Array, Array, Array]:
    """The scores that count, the logarithms of their softmax, and whether any counts."""
    if counts is None:
        counts = jnp.ones(others.shape, bool)
    any_counts = counts.any(-1)
    # Without any that counts all do, so that the gradient of the unused branch is finite.
    used = counts | ~any_counts[..., None]
    others = jnp.where(used, others, 0)
    logits = jnp.where(used, others, -jnp.inf)
    # The logarithm of a share of 0 is kept finite: its exponential is 0, and its gradient is.
    log_shares = jnp.maximum(jax.nn.log_softmax(logits, axis=-1), jnp.finfo(others.dtype).min / 4)
    return others, log_shares, any_counts
