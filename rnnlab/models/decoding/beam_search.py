"""Greedy and beam search over the next token, in one compiled loop that stops early."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from rnnlab.models.decoding.decoded import NO_LABEL, Decoded
from rnnlab.scan.varying import match_varying
from rnnlab.validation import require_positive_int

Step = Callable[[Any, Int[Array, "batch lanes"]], tuple[Any, Float[Array, "batch lanes classes"]]]
"""One time step of a model: `(carry, tokens) -> (carry, logits)`."""


class Search(NamedTuple):
    """The state of a search over a batch.

    Attributes:
      time: number of labels of every open hypothesis.
      carry: the carry of the model, with axes (batch, lanes). The lanes are those of the open
        hypotheses and, behind them, of the greedy one where the beam is wider than 1.
      tokens: (batch, lanes), the last token of each lane.
      labels: (batch, beam, max_length), of the open hypotheses.
      scores: (batch, beam), their log probabilities; -inf where there are fewer.
      ended: the hypotheses that have ended, the best one first.
      greedy: the greedy hypothesis, of one lane; scores and lengths are those so far.
      greedy_is_open: (batch,), whether the greedy hypothesis has not ended.
    """

    time: Array
    carry: Any
    tokens: Array
    labels: Array
    scores: Array
    ended: Decoded
    greedy: Decoded
    greedy_is_open: Array


def greedy_search(
    step: Step, carry: Any, batch_size: int, *, begin: int, end: int, max_length: int
) -> Decoded:
    """Returns the hypothesis of each example that takes the most probable token at every step.

    The loop ends when all hypotheses have ended. After `max_length` labels the end is taken.

    Args:
      step: one time step of a model.
      carry: the carry of the model, with axes (batch, 1).
      batch_size: number of examples.
      begin: the token that the model reads first.
      end: the label that ends a hypothesis.
      max_length: greatest number of labels of a hypothesis.

    Returns:
      A beam of one hypothesis.
    """
    require_positive_int(max_length=max_length)
    shape = batch_size, 1
    start = (
        jnp.zeros((), jnp.int32),
        carry,
        jnp.full(shape, begin, jnp.int32),
        _no_hypotheses(shape, max_length)._replace(scores=jnp.zeros(shape, jnp.float32)),
        jnp.ones(shape, bool),
    )

    def is_open(state):
        return state[-1].any()

    def advance(state):
        time, carry, tokens, found, is_open = state
        carry, logits = step(carry, tokens)
        log_probabilities = _allowed(jax.nn.log_softmax(logits), time == max_length, end)
        tokens, found, is_open = _extend_greedily(log_probabilities, found, is_open, time, end)
        return time + 1, carry, tokens, found, is_open

    return lax.while_loop(is_open, advance, match_varying(start))[3]


def beam_search(
    step: Step,
    carry: Any,
    batch_size: int,
    *,
    begin: int,
    end: int,
    max_length: int,
    beam: int = 4,
    length_penalty: float = 0.0,
) -> Decoded:
    """Returns the best hypotheses of each example that a beam search finds.

    At each step every open hypothesis is continued by every token. An end among the `beam` best
    continuations ends a hypothesis; the `beam` best others stay open. The search of an example ends
    when `beam` hypotheses have ended, and the loop when that of all examples has. After
    `max_length` labels the end is taken, so that all hypotheses are whole and their scores are
    comparable. Ended hypotheses are ranked by

        log probability / (number of labels + 1) ** length_penalty

    Beam search may lose the greedy hypothesis. It is followed in a lane of its own and ranked with
    the others, so that the best hypothesis never ranks below the greedy one: without a length
    penalty its probability is at least as high. A beam of 1 is greedy search.

    Args:
      step: one time step of a model.
      carry: the carry of the model, with axes (batch, 1).
      batch_size, begin, end, max_length: as in `greedy_search`.
      beam: number of open hypotheses per example, and of those returned.
      length_penalty: exponent of the length normalization, >= 0.

    Source: Wu et al., arXiv 1609.08144, section 7, with a simpler normalization.

    >>> import numpy as np
    >>> logits = jnp.log(jnp.array([[0.0, 0.6, 0.4], [0.0, 0.5, 0.5], [0.01, 0.98, 0.01]]))
    >>> found = beam_search(
    ...     lambda carry, token: (carry, logits[token]),  # of a Markov chain
    ...     (), 1, begin=0, end=1, max_length=2, beam=2,
    ... )
    >>> found.labels[0].tolist(), np.exp(np.float64(found.scores[0])).round(3).tolist()
    ([[-1, -1], [2, -1]], [0.6, 0.392])
    """
    require_positive_int(max_length=max_length, beam=beam)
    lanes = beam + (beam > 1)
    shape = batch_size, beam
    # At first all hypotheses are the same; one is open.
    first = jnp.where(jnp.arange(beam) == 0, 0.0, -jnp.inf).astype(jnp.float32)
    greedy = _no_hypotheses((batch_size, 1), max_length)
    start = Search(
        time=jnp.zeros((), jnp.int32),
        carry=jax.tree.map(lambda x: jnp.repeat(x, lanes, axis=1), carry),
        tokens=jnp.full((batch_size, lanes), begin, jnp.int32),
        labels=jnp.full((*shape, max_length), NO_LABEL, jnp.int32),
        scores=jnp.broadcast_to(first[None], shape),
        ended=_no_hypotheses(shape, max_length),
        greedy=greedy._replace(scores=jnp.zeros((batch_size, 1), jnp.float32)),
        greedy_is_open=jnp.full((batch_size, 1), beam > 1),
    )
    advance = partial(
        _advance, step=step, end=end, max_length=max_length, length_penalty=length_penalty
    )
    search = lax.while_loop(_is_open, advance, match_varying(start))
    if beam == 1:
        return search.ended
    is_known = (search.ended.labels == search.greedy.labels).all(-1) & (
        search.ended.lengths == search.greedy.lengths
    )
    is_new = ~(is_known & (search.ended.scores > -jnp.inf)).any(-1, keepdims=True)
    scores = jnp.where(is_new, search.greedy.scores, -jnp.inf)
    return _best((search.ended, search.greedy._replace(scores=scores)), beam, length_penalty)


def _advance(
    search: Search, *, step: Step, end: int, max_length: int, length_penalty: float
) -> Search:
    """Returns the state of a search after one more time step of the model."""
    batch, beam, _ = search.labels.shape
    carry, logits = step(search.carry, search.tokens)
    is_last = search.time == max_length
    log_probabilities = _allowed(jax.nn.log_softmax(logits), is_last, end)
    classes = log_probabilities.shape[-1]

    candidates = jnp.expand_dims(search.scores, -1) + log_probabilities[:, :beam]
    # At most `beam` of them are ends, so that `beam` others are among them.
    count = min(2 * beam, beam * classes)
    scores, index = lax.top_k(candidates.reshape(batch, beam * classes), count)
    parent, token = index // classes, index % classes
    ends = token == end
    can_end = ends & (jnp.arange(count) < beam)[None] & _is_searching(search, axis=True)
    lengths = jnp.full((batch, count), search.time)
    labels = jnp.take_along_axis(search.labels, jnp.expand_dims(parent, -1), axis=1)
    new = Decoded(labels, jnp.where(can_end, scores, -jnp.inf), lengths)
    ended = _best((search.ended, new), beam, length_penalty)

    # The best candidates that are not ends, in their order.
    scores, kept = lax.top_k(jnp.where(ends, -jnp.inf, scores), beam)
    parent, token = (jnp.take_along_axis(x, kept, axis=1) for x in (parent, token))
    labels = jnp.take_along_axis(search.labels, jnp.expand_dims(parent, -1), axis=1)
    labels = _with_label(labels, token, search.time)
    greedy, greedy_is_open = search.greedy, search.greedy_is_open
    if beam > 1:
        greedy_token, greedy, greedy_is_open = _extend_greedily(
            log_probabilities[:, beam:], greedy, greedy_is_open, search.time, end
        )
        token = jnp.concatenate([token, greedy_token], 1)
        parent = jnp.concatenate([parent, jnp.full_like(greedy_token, beam)], 1)
    carry = jax.tree.map(lambda x: _gather(x, parent), carry)
    time = search.time + 1
    return Search(time, carry, token, labels, scores, ended, greedy, greedy_is_open)


def _is_open(search: Search) -> Array:
    """Whether an example needs another step."""
    return (_is_searching(search) | search.greedy_is_open[:, 0]).any()


def _is_searching(search: Search, *, axis: bool = False) -> Array:
    """Whether the search of an example has not ended, (batch,), or (batch, 1) with `axis`."""
    has_all = (search.ended.scores > -jnp.inf).all(-1, keepdims=axis)
    return ~has_all & (search.scores > -jnp.inf).any(-1, keepdims=axis)


def _extend_greedily(
    log_probabilities: Array, found: Decoded, is_open: Array, time: Array, end: int
) -> tuple[Array, Decoded, Array]:
    """Returns the most probable tokens, and hypotheses that are continued by them where open."""
    token = jnp.argmax(log_probabilities, -1).astype(jnp.int32)
    gain = jnp.max(log_probabilities, -1)
    continues = is_open & (token != end) & (time < found.labels.shape[-1])
    labels = jnp.where(
        jnp.expand_dims(continues, -1), _with_label(found.labels, token, time), found.labels
    )
    scores = found.scores + jnp.where(is_open, gain, 0).astype(found.scores.dtype)
    lengths = found.lengths + continues.astype(jnp.int32)
    return token, Decoded(labels, scores, lengths), continues


def _allowed(log_probabilities: Array, is_last: Array, end: int) -> Array:
    """Returns log probabilities that are -inf of all labels but the end in the last step."""
    is_end = (jnp.arange(log_probabilities.shape[-1]) == end)[None, None]
    allowed = jnp.where(is_end | ~is_last, log_probabilities, -jnp.inf)
    return allowed.astype(jnp.float32)


def _with_label(labels: Array, token: Array, time: Array) -> Array:
    """Returns hypotheses with a label at a time; unchanged at `max_length`."""
    is_here = (jnp.arange(labels.shape[-1]) == time)[None, None]
    return jnp.where(is_here, jnp.expand_dims(token, -1), labels)


def _best(parts: tuple[Decoded, Decoded], beam: int, length_penalty: float) -> Decoded:
    """Returns the highest-ranked hypotheses of two sets; of equal ones those of the first set."""
    joined = jax.tree.map(lambda *x: jnp.concatenate(x, 1), *parts)
    rank = joined.scores / (joined.lengths + 1).astype(jnp.float32) ** length_penalty
    _, kept = lax.top_k(rank, beam)
    return jax.tree.map(lambda x: _gather(x, kept), joined)


def _gather(x: Array, index: Array) -> Array:
    """Returns entries of axis 1 by their index (batch, lanes)."""
    index = index.reshape(*index.shape, *[1] * (x.ndim - 2))
    return jnp.take_along_axis(x, index, axis=1)


def _no_hypotheses(shape: tuple[int, int], max_length: int) -> Decoded:
    return Decoded(
        jnp.full((*shape, max_length), NO_LABEL, jnp.int32),
        jnp.full(shape, -jnp.inf, jnp.float32),
        jnp.zeros(shape, jnp.int32),
    )
