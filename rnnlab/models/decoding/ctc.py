"""Decode the outputs of a model that is trained by CTC: greedily or by prefix beam search.

Both read the outputs in any number of chunks: what a chunk returns with the carry of the one before
equals the result of one call.

Source: Graves et al., ICML 2006, for both; Hannun et al., arXiv 1408.2873, for the search.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from rnnlab.dtypes import accumulation_dtype
from rnnlab.losses.ctc import ctc_emissions, ctc_loss
from rnnlab.losses.label_sequences import BLANK, NO_LABEL, frame_counts, left_align
from rnnlab.models.decoding.emissions import emission_times
from rnnlab.models.decoding.hypotheses import NBest, append_label, best_of, used_only
from rnnlab.recurrent import tree_where
from rnnlab.validation import require_floating, require_positive_int


class CTCBeamCarry(NamedTuple):
    """The state of a prefix beam search: prefixes with different labels, (*batch, beam, ...).

    Attributes:
      labels: (..., max_labels) classes; negative after the end.
      times: (..., max_labels) number of the time step at which each label was added.
      lengths: (...,) number of labels.
      log_blank: (...,) log probability of the alignments that end with the blank.
      log_label: (...,) log probability of those that end with the last label.
      offset: (*batch,) what is added to both, so that they stay small.
      frame: (*batch,) int32, number of time steps so far.
    """

    labels: Array
    times: Array
    lengths: Array
    log_blank: Array
    log_label: Array
    offset: Array
    frame: Array


def ctc_greedy(
    logits: Float[Array, "*batch time classes"],
    carry: Int[Array, "*batch"] | None = None,
    *,
    mask: Bool[Array, "*batch time"] | None = None,
) -> tuple[Int[Array, "*batch"], Int[Array, "*batch time"]]:
    """Returns the labels that the most likely alignment adds at each time step.

    Args:
      logits: of class 0, the blank, and of the labels.
      carry: class of the time step before these; None: the blank.
      mask: False in padding, which is on the right and adds no label.

    Returns:
      The class of the last time step, and a label per time step, negative where none is added.
      `rnnlab.losses.label_sequences.left_align` joins them to one sequence.

    >>> carry, labels = ctc_greedy(jax.nn.one_hot(jnp.array([2, 2, 0, 2]), 3))
    >>> labels.tolist(), int(carry)
    ([2, -1, -1, 2], 2)
    """
    logits = jnp.asarray(logits)
    classes = jnp.argmax(logits, -1).astype(jnp.int32)
    before = jnp.full(classes.shape[:-1], BLANK, jnp.int32) if carry is None else carry
    labels = ctc_emissions(classes, mask, before)
    count = frame_counts(mask, classes.shape)
    seen = jnp.concatenate([before[..., None], classes], -1)
    return jnp.take_along_axis(seen, count[..., None], -1)[..., 0], labels


def ctc_beam_carry(
    batch_shape: tuple[int, ...] = (),
    *,
    beam: int = 8,
    max_labels: int = 200,
    dtype: jnp.dtype = jnp.float32,
) -> CTCBeamCarry:
    """Returns the state of a prefix beam search before the first time step: the empty prefix.

    Args:
      batch_shape: axes of the streams.
      beam: number of prefixes.
      max_labels: number of labels at which a prefix ends.
      dtype: of the scores.
    """
    require_positive_int(beam=beam, max_labels=max_labels)
    shape = (*batch_shape, beam)
    empty = jnp.full((*shape, max_labels), NO_LABEL, jnp.int32)
    none = jnp.full(shape, -jnp.inf, dtype)
    return CTCBeamCarry(
        labels=empty,
        times=empty,
        lengths=jnp.zeros(shape, jnp.int32),
        log_blank=none.at[..., 0].set(0),
        log_label=none,
        offset=jnp.zeros(batch_shape, dtype),
        frame=jnp.zeros(batch_shape, jnp.int32),
    )


def ctc_beam(
    logits: Float[Array, "*batch time classes"],
    carry: CTCBeamCarry | None = None,
    *,
    mask: Bool[Array, "*batch time"] | None = None,
    beam: int = 8,
    max_labels: int | None = None,
) -> tuple[CTCBeamCarry, NBest]:
    """Searches the most likely labels, and adds up the alignments of equal labels.

    A beam that holds all prefixes finds the most likely labels and their exact probability. A beam
    of 1 is not greedy decoding: it adds up the alignments of one prefix, where greedy decoding
    follows one alignment.

    Args:
      logits: of class 0, the blank, and of the labels.
      carry: the state before these time steps; None: `ctc_beam_carry`.
      mask: False in padding, which does not count.
      beam: number of prefixes; with a carry, that of the carry counts.
      max_labels: number of labels at which a prefix ends; None: the number of time steps. With a
        carry, that of the carry counts.

    Returns:
      The state after the time steps, and the prefixes, best first. Scores are the log
      probabilities of the alignments that were followed, lower bounds of those of the labels.

    Raises:
      ValueError: logits are not floating, or beam or max_labels is not an int >= 1.

    >>> logits = jnp.log(jnp.array([[0.6, 0.4], [0.6, 0.4]]))  # greedy: no label, 0.36
    >>> _, found = ctc_beam(logits, beam=2)
    >>> print(found.labels[0], jnp.exp(found.scores[0]).round(4))
    [ 1 -1] 0.64
    """
    logits = jnp.asarray(logits)
    require_floating(logits=logits)
    batch, time = logits.shape[:-2], logits.shape[-2]
    dtype = accumulation_dtype(logits.dtype)
    if carry is None:
        max_labels = max(time, 1) if max_labels is None else max_labels
        carry = ctc_beam_carry(batch, beam=beam, max_labels=max_labels, dtype=dtype)
    if mask is None:
        mask = jnp.ones((*batch, time), bool)
    return _search(jax.nn.log_softmax(logits.astype(dtype)), jnp.asarray(mask), carry)


def ctc_decode(
    logits: Float[Array, "*batch time classes"],
    *,
    mask: Bool[Array, "*batch time"] | None = None,
    beam: int = 8,
    max_labels: int | None = None,
) -> NBest:
    """Returns the most likely labels of whole sequences, with the model's own probabilities.

    The prefixes of `ctc_beam` and the labels of `ctc_greedy` are ranked by the log probability of
    their labels over all alignments. The first one is therefore never less likely than the greedy
    one.

    Arguments are those of `ctc_beam`.

    Returns:
      `beam` hypotheses, best first.
    """
    logits = jnp.asarray(logits)
    time = logits.shape[-2]
    max_labels = max(time, 1) if max_labels is None else max_labels
    _, found = ctc_beam(logits, mask=mask, beam=beam, max_labels=max_labels)
    return _ranked(logits, mask, found)


@jax.jit
def _search(log_probs, mask, carry):
    step = _step
    for _ in mask.shape[:-1]:
        step = jax.vmap(step)

    def body(carry, inputs):
        log_probs, real = inputs
        return tree_where(real, step(carry, log_probs), carry), None

    time_first = jnp.moveaxis(log_probs, -2, 0), jnp.moveaxis(mask, -1, 0)
    carry, _ = lax.scan(body, carry, time_first)
    scores = jnp.logaddexp(carry.log_blank, carry.log_label) + carry.offset[..., None]
    return carry, used_only(NBest(carry.labels, scores, carry.times))


def _step(carry: CTCBeamCarry, log_probs: Float[Array, " classes"]) -> CTCBeamCarry:
    """Returns the state of one stream after one time step."""
    labels, lengths = carry.labels, carry.lengths
    beam, max_labels = labels.shape
    count = log_probs.shape[0] - 1
    last_slot = jnp.maximum(lengths - 1, 0)[:, None]
    last = jnp.where(lengths > 0, jnp.take_along_axis(labels, last_slot, 1)[:, 0], NO_LABEL)
    total = jnp.logaddexp(carry.log_blank, carry.log_label)
    to_blank = total + log_probs[BLANK]
    stays = carry.log_label + log_probs[jnp.maximum(last, 0)]
    # The last label again is a new label only after a blank.
    classes = jnp.arange(1, count + 1, dtype=jnp.int32)[None]
    repeats = classes == last[:, None]
    extended = jnp.where(repeats, carry.log_blank[:, None], total[:, None]) + log_probs[None, 1:]
    extended = jnp.where(lengths[:, None] < max_labels, extended, -jnp.inf)
    # A prefix i and the last label of a prefix j are j: the alignments of both are added.
    slots = jnp.arange(max_labels, dtype=jnp.int32)[None]
    parents = jnp.where(slots == last_slot, NO_LABEL, labels)
    is_parent = jnp.all(labels[:, None] == parents[None], -1) & (lengths > 0)[None]
    by_label = jnp.take_along_axis(extended, jnp.maximum(last - 1, 0)[None].repeat(beam, 0), 1)
    arriving = jnp.max(jnp.where(is_parent, by_label, -jnp.inf), 0)
    to_label = jnp.logaddexp(jnp.where(lengths > 0, stays, -jnp.inf), arriving)
    arrived = jnp.any(is_parent[..., None] & repeats[None], 1)
    extended = jnp.where(arrived, -jnp.inf, extended)

    candidates = jnp.concatenate([jnp.logaddexp(to_blank, to_label), extended.reshape(-1)])
    scores, chosen = lax.top_k(candidates, beam)
    is_new = chosen >= beam
    parent = jnp.where(is_new, (chosen - beam) // count, chosen)
    label = (chosen - beam) % count + 1
    best = jnp.where(scores[0] > -jnp.inf, scores[0], 0)
    frame = jnp.broadcast_to(carry.frame, label.shape)
    return CTCBeamCarry(
        labels=append_label(labels[parent], lengths[parent], label, is_new),
        times=append_label(carry.times[parent], lengths[parent], frame, is_new),
        lengths=lengths[parent] + is_new.astype(jnp.int32),
        log_blank=jnp.where(is_new, -jnp.inf, to_blank[parent]) - best,
        log_label=jnp.where(is_new, scores, to_label[parent]) - best,
        offset=carry.offset + best,
        frame=carry.frame + 1,
    )


@jax.jit
def _ranked(logits, mask, found):
    beam, max_labels = found.labels.shape[-2:]
    _, emitted = ctc_greedy(logits, mask=mask)
    rows = [(0, 0)] * (emitted.ndim - 1) + [(0, max_labels)]
    greedy, times = (
        jnp.pad(x, rows, constant_values=NO_LABEL)[..., None, :max_labels]
        for x in (left_align(emitted), emission_times(emitted[..., None]))
    )
    labels = jnp.concatenate([found.labels, greedy], -2)
    times = jnp.concatenate([found.times, times], -2)

    def log_prob(labels):
        nats, feasible = ctc_loss(logits, labels, mask)
        return jnp.where(feasible, -nats, -jnp.inf)

    exact = jnp.moveaxis(lax.map(log_prob, jnp.moveaxis(labels, -2, 0)), 0, -1)
    unused = jnp.pad(found.scores == -jnp.inf, [(0, 0)] * (found.scores.ndim - 1) + [(0, 1)])
    return best_of(NBest(labels, jnp.where(unused, -jnp.inf, exact), times), beam)
