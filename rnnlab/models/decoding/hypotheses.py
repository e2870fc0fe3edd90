"""Hypotheses of a beam search: sequences of labels in arrays of a fixed size, with scores."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Int

from rnnlab.losses.label_sequences import NO_LABEL


class NBest(NamedTuple):
    """The hypotheses of a search with different labels, best first.

    Attributes:
      labels: (*batch, beam, max_labels) classes; negative after the end.
      scores: (*batch, beam) log probabilities in nats; -inf where there are fewer hypotheses.
      times: (*batch, beam, max_labels) the number of the time step that emits each label, by the
        most likely of the alignments that were followed; negative after the end.
    """

    labels: Array
    scores: Array
    times: Array


def append_label(
    labels: Int[Array, "beam max_labels"],
    lengths: Int[Array, " beam"],
    label: Int[Array, " beam"],
    where: Bool[Array, " beam"],
) -> Int[Array, "beam max_labels"]:
    """Returns the sequences with one more label where a flag is True.

    >>> labels = jnp.array([[4, -1], [-1, -1]])
    >>> lengths, new, where = jnp.array([1, 0]), jnp.array([2, 3]), jnp.array([True, False])
    >>> append_label(labels, lengths, new, where).tolist()
    [[4, 2], [-1, -1]]
    """
    slots = jnp.arange(labels.shape[1], dtype=jnp.int32)[None]
    return jnp.where((slots == lengths[:, None]) & where[:, None], label[:, None], labels)


def equal_labels(
    labels: Int[Array, "beam max_labels"], others: Int[Array, "beam max_labels"]
) -> Bool[Array, "beam beam"]:
    """Returns which pairs of sequences are equal.

    >>> equal_labels(jnp.array([[1, 2], [3, -1]]), jnp.array([[3, -1], [3, 3]])).tolist()
    [[False, False], [True, False]]
    """
    return jnp.all(labels[:, None] == others[None], -1)


def best_of(candidates: NBest, beam: int) -> NBest:
    """Returns the best hypotheses with different labels, best first.

    >>> labels, scores = jnp.array([[[1], [2], [1]]]), jnp.array([[-3.0, -1.0, -3.0]])
    >>> x = NBest(labels, scores, jnp.zeros_like(labels))
    >>> best_of(x, 2).labels.tolist(), best_of(x, 3).scores.tolist()
    ([[[2], [1]]], [[-1.0, -3.0, -inf]])
    """
    labels, scores, times = candidates
    count = labels.shape[-2]
    equal = jnp.all(labels[..., :, None, :] == labels[..., None, :, :], -1)
    earlier = jnp.broadcast_to(jnp.tril(jnp.ones((count, count), bool), -1), equal.shape)
    repeated = jnp.any(equal & earlier & (scores > -jnp.inf)[..., None, :], -1)
    scores, order = lax.top_k(jnp.where(repeated, -jnp.inf, scores), beam)
    labels, times = (jnp.take_along_axis(x, order[..., None], -2) for x in (labels, times))
    return used_only(NBest(labels, scores, times))


def used_only(found: NBest) -> NBest:
    """Returns hypotheses without the labels of those whose score is -inf."""
    used = found.scores[..., None] > -jnp.inf
    labels, times = (jnp.where(used, x, NO_LABEL) for x in (found.labels, found.times))
    return NBest(labels, found.scores, times)
