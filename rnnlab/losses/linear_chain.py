"""Linear-chain conditional random fields: likelihood, marginals, and the most likely tags.

A chain scores each pair of neighboring tags of a sequence:

    log p(tags) = sum over t of scores[t, tags[t - 1], tags[t]] - log Z

The tag before a sequence is tag 0, which in IOB2 is O: nothing precedes the first word. The log
partition function, `log Z`, is a sum over all sequences of tags by the forward recursion

    alpha[t, q] = log sum over p of exp(alpha[t - 1, p] + scores[t, p, q])

A score of -inf forbids a pair. A masked time step leaves `alpha` as it is, so that padding does not
count. A reset starts a new sequence within a row. The gradient of `log Z` are the marginals of the
pairs, which a second recursion, from the end, computes without differentiating the first one.

Source: Lafferty, McCallum and Pereira, "Conditional random fields", ICML 2001; with scores of pairs
that depend on the input: Ma and Hovy, arXiv 1603.01354, section 2.3.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from rnnlab.losses.ctc import require_whole_time
from rnnlab.scan.varying import match_varying

IGNORED = -1
"""The tag of padding and of a time step whose tag is unknown."""


def log_partition(
    scores: Float[Array, "*batch time tags tags"],
    *,
    mask: Bool[Array, "*batch time"] | None = None,
    reset: Bool[Array, "*batch time"] | None = None,
) -> Float[Array, "*batch"]:
    """Returns the logarithm of the sum over all sequences of tags, `log Z`.

    Args:
      scores: of each pair of neighboring tags; -inf forbids a pair.
      mask: False in padding, which may be anywhere.
      reset: True where a new sequence starts, whose previous tag is 0.

    >>> import jax.numpy as jnp
    >>> round(float(jnp.exp(log_partition(jnp.zeros((3, 2, 2))))), 3)  # 2 ** 3 sequences
    8.0
    """
    require_whole_time("scores", scores)
    if not scores.shape[-3]:
        return jnp.zeros(scores.shape[:-3], scores.dtype)
    return _log_partition(_restarted(scores, reset), _full(mask, scores))


def marginals(
    scores: Float[Array, "*batch time tags tags"],
    *,
    mask: Bool[Array, "*batch time"] | None = None,
    reset: Bool[Array, "*batch time"] | None = None,
) -> Float[Array, "*batch time tags"]:
    """Returns the probability of each tag at each time step, 0 in padding.

    Args:
      scores, mask, reset: as for `log_partition`.

    >>> import jax.numpy as jnp
    >>> scores = jnp.zeros((2, 2, 2)).at[0, 0, 1].set(jnp.log(3))
    >>> marginals(scores).round(2).tolist()
    [[0.25, 0.75], [0.5, 0.5]]
    """
    require_whole_time("scores", scores)
    if not scores.shape[-3]:
        return jnp.zeros(scores.shape[:-1], scores.dtype)
    prepared, mask = _restarted(scores, reset), _full(mask, scores)
    return _pair_marginals(prepared, mask, *_forward(prepared, mask)).sum(-2)


def negative_log_likelihood(
    scores: Float[Array, "*batch time tags tags"],
    tags: Int[Array, "*batch time"],
    *,
    mask: Bool[Array, "*batch time"] | None = None,
    reset: Bool[Array, "*batch time"] | None = None,
) -> Float[Array, "*batch"]:
    """Returns `-log p(tags)` of each row in nats.

    An unknown tag, less than 0, is summed over: the result is that of the known tags.

    Args:
      scores, mask, reset: as for `log_partition`.
      tags: of each time step.

    >>> import jax.numpy as jnp
    >>> float(jnp.exp(-negative_log_likelihood(jnp.zeros((2, 2, 2)), jnp.array([1, -1]))))
    0.5
    """
    allowed = jax.nn.one_hot(tags, scores.shape[-1], dtype=bool) | (tags < 0)[..., None]
    of_tags = jnp.where(allowed[..., None, :], scores, -jnp.inf)
    flags = {"mask": mask, "reset": reset}
    twice = {name: None if x is None else jnp.stack([x, x]) for name, x in flags.items()}
    total, known = log_partition(jnp.stack([scores, of_tags]), **twice)
    return total - known


def viterbi(
    scores: Float[np.ndarray, "*batch time tags tags"],
    *,
    mask: Bool[np.ndarray, "*batch time"] | None = None,
    reset: Bool[np.ndarray, "*batch time"] | None = None,
) -> Int[np.ndarray, "*batch time"]:
    """Returns the most likely sequence of tags of each row, on the host; `IGNORED` in padding.

    Args:
      scores, mask, reset: as for `log_partition`, arrays of NumPy.

    Source: Forney, "The Viterbi algorithm", Proceedings of the IEEE 61 (1973).

    >>> scores = np.zeros((2, 2, 2))
    >>> scores[1, 1, 0] = 2.0  # a pair, which decides both tags
    >>> viterbi(scores).tolist()
    [1, 0]
    """
    scores = np.asarray(scores, np.float64)
    *batch, length, tags, _ = scores.shape
    mask = np.ones((*batch, length), bool) if mask is None else np.asarray(mask)
    if reset is not None:
        first = np.broadcast_to(scores[..., :1, :], scores.shape)
        scores = np.where(np.asarray(reset)[..., None, None], first, scores)
    best = np.where(np.arange(tags) == 0, 0.0, -np.inf)
    best = np.broadcast_to(best, (*batch, tags))
    previous = np.zeros((*batch, length, tags), np.int32)
    for t in range(length):
        total = best[..., :, None] + scores[..., t, :, :]
        at = mask[..., t, None]
        previous[..., t, :] = np.where(at, total.argmax(-2), np.arange(tags))
        best = np.where(at, total.max(-2), best)
    chosen = np.full((*batch, length), IGNORED, np.int32)
    tag = best.argmax(-1)
    for t in reversed(range(length)):
        chosen[..., t] = np.where(mask[..., t], tag, IGNORED)
        tag = np.take_along_axis(previous[..., t, :], tag[..., None], -1)[..., 0]
    return chosen


def _restarted(scores: Array, reset: Array | None) -> Array:
    """The scores in which the tag before a reset is 0, whatever it is."""
    if reset is None:
        return scores
    return jnp.where(reset[..., None, None], scores[..., :1, :], scores)


def _full(mask: Array | None, scores: Array) -> Array:
    return jnp.ones(scores.shape[:-2], bool) if mask is None else mask


def _log_sum(x: Array, axis: int) -> Array:
    """`log sum exp` without NaN where all terms are -inf."""
    largest = x.max(axis, keepdims=True)
    largest = lax.stop_gradient(jnp.where(jnp.isfinite(largest), largest, 0))
    return jnp.log(jnp.exp(x - largest).sum(axis)) + largest.squeeze(axis)


def _time_first(x: Array, axes: int) -> Array:
    return jnp.moveaxis(x, -1 - axes, 0)


def _forward(scores: Array, mask: Array) -> tuple[Array, Array]:
    """`alpha` before each time step, (*batch, time, tags), and `log Z`."""
    xs, flags = _time_first(scores, 2), _time_first(mask, 0)[..., None]
    initial = jnp.where(jnp.arange(scores.shape[-1]) == 0, 0.0, -jnp.inf).astype(scores.dtype)
    initial = jnp.broadcast_to(initial, xs.shape[1:-1])
    initial, xs, flags = match_varying((initial, xs, flags))
    start = jnp.where(flags[0], xs[0][..., 0, :], initial)

    def step(alpha, at):
        score, flag = at
        after = _log_sum(alpha[..., :, None] + score, -2)
        return jnp.where(flag, after, alpha), alpha

    alpha, before = lax.scan(step, start, (xs[1:], flags[1:]))
    before = jnp.moveaxis(jnp.concatenate([initial[None], before]), 0, -2)
    return before, _log_sum(alpha, -1)


def _pair_marginals(scores: Array, mask: Array, before: Array, total: Array) -> Array:
    """The probability of each pair of neighboring tags, 0 in padding."""
    xs, flags = _time_first(scores, 2), _time_first(mask, 0)[..., None]
    end = jnp.zeros(total.shape + scores.shape[-1:], scores.dtype)
    end, xs, flags = match_varying((end, xs, flags))

    def step(beta, at):
        score, flag = at
        return jnp.where(flag, _log_sum(score + beta[..., None, :], -1), beta), beta

    _, after = lax.scan(step, end, (xs, flags), reverse=True)
    after = jnp.moveaxis(after, 0, -2)
    logs = before[..., :, None] + scores + after[..., None, :] - total[..., None, None, None]
    is_known = mask[..., None, None] & jnp.isfinite(total)[..., None, None, None]
    return jnp.where(is_known, jnp.exp(logs), 0)


@jax.custom_vjp
def _log_partition(scores: Array, mask: Array) -> Array:
    return _forward(scores, mask)[1]


def _save(scores: Array, mask: Array) -> tuple[Array, tuple[Array, ...]]:
    before, total = _forward(scores, mask)
    return total, (scores, mask, before, total)


def _gradient(saved: tuple[Array, ...], slope: Array) -> tuple[Array, None]:
    return slope[..., None, None, None] * _pair_marginals(*saved), None


_log_partition.defvjp(_save, _gradient)
