"""Beam search with a transducer, of whole sequences or streams of chunks.

Streams and chunks are as in `rnnlab.models.decoding.transducer_greedy`.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from rnnlab.argument_errors import explain_arguments
from rnnlab.losses.label_sequences import BLANK, NO_LABEL
from rnnlab.models.decoding.hypotheses import NBest, append_label, equal_labels, used_only
from rnnlab.models.decoding.streams import (
    encoded_frames,
    first_prediction,
    flat_batch,
    require_causal,
)
from rnnlab.recurrent import tree_where
from rnnlab.validation import require_positive_int


class Beam(NamedTuple):
    """Hypotheses with different labels, (*batch, beam, ...).

    Attributes:
      labels: (..., max_labels) classes; negative after the end.
      times: (..., max_labels) number of the time step at which each label is emitted, by the more
        likely of merged alignments.
      lengths: (...,) number of labels.
      scores: (...,) log probability of the alignments that were followed; -inf: unused.
      predictor: carry of the prediction network after the last label.
      predicted: (..., features) its output.
    """

    labels: Array
    times: Array
    lengths: Array
    scores: Array
    predictor: Any
    predicted: Array


class BeamCarry(NamedTuple):
    """The state of a beam search over streams.

    Attributes:
      encoder: carry of the encoder.
      beam: the hypotheses, their state and their scores.
      offset: (*batch,) what is added to the scores, so that they stay small.
      frame: (*batch,) int32, number of time steps so far.
    """

    encoder: Any
    beam: Beam
    offset: Array
    frame: Array


def beam_carry(
    model: nnx.Module, batch_shape: tuple[int, ...] = (), *, beam: int = 4, max_labels: int = 200
) -> BeamCarry:
    """Returns the state of a beam search before the first time step.

    Args:
      model: the transducer.
      batch_shape: axes of the streams.
      beam: number of hypotheses.
      max_labels: number of labels at which a hypothesis ends.

    Raises:
      ValueError: beam or max_labels is not an int >= 1.
    """
    require_positive_int(beam=beam, max_labels=max_labels)
    shape = (*batch_shape, beam)
    predictor, predicted = first_prediction(model, shape)
    empty = jnp.full((*shape, max_labels), NO_LABEL, jnp.int32)
    scores = jnp.full(shape, -jnp.inf, predicted.dtype).at[..., 0].set(0)
    lengths = jnp.zeros(shape, jnp.int32)
    return BeamCarry(
        encoder=model.initial_carry(batch_shape),
        beam=Beam(empty, empty, lengths, scores, predictor, predicted),
        offset=jnp.zeros(batch_shape, scores.dtype),
        frame=jnp.zeros(batch_shape, jnp.int32),
    )


@explain_arguments
def transducer_beam(
    model: nnx.Module,
    xs: Float[Array, "*batch time in_features"] | Int[Array, "*batch time"],
    carry: BeamCarry | None = None,
    *,
    mask: Bool[Array, "*batch time"] | None = None,
    gaps: Float[Array, "*batch time"] | None = None,
    beam: int = 4,
    max_labels: int | None = None,
    max_symbols: int = 3,
) -> tuple[BeamCarry, NBest]:
    """Searches the most likely labels, and adds up the alignments of equal labels.

    At each time step the hypotheses take the blank or emit a label, up to `max_symbols` times, and
    the most likely of both kinds are kept. Hypotheses that reach the next time step with equal
    labels are merged: their probabilities are added. With a beam of 1 nothing can be merged, and
    the search equals `transducer_greedy`.

    Args:
      model, xs, mask, gaps, max_symbols: as in `transducer_greedy`.
      carry: the state of the streams before these inputs; None: `beam_carry`.
      beam: number of hypotheses; with a carry, that of the carry counts.
      max_labels: number of labels at which a hypothesis ends; None: time x max_symbols. With a
        carry, that of the carry counts.

    Returns:
      The state after the inputs, and the hypotheses, best first. Their scores are the log
      probabilities of the alignments that were followed, lower bounds of those of the labels;
      `transducer_decode` computes the latter.

    Raises:
      ValueError: beam, max_labels or max_symbols is not an int >= 1, or the encoder is
        bidirectional and carry given.
    """
    require_positive_int(beam=beam, max_symbols=max_symbols)
    require_causal(model, carry)
    xs = jnp.asarray(xs)
    time = xs.shape[-1 if model.vocab_size is not None else -2]
    if carry is None:
        max_labels = max(time * max_symbols, 1) if max_labels is None else max_labels
        require_positive_int(max_labels=max_labels)
    graphdef, params = nnx.split(model)
    settings = beam, max_labels, max_symbols
    return _beam(graphdef, settings, params, carry, xs, mask, gaps)


@partial(jax.jit, static_argnums=(0, 1))
def _beam(graphdef, settings, params, carry, xs, mask, gaps):
    model = nnx.merge(graphdef, params, copy=True)
    model.eval()
    beam, max_labels, max_symbols = settings
    batch = xs.shape[:-1] if model.vocab_size is not None else xs.shape[:-2]
    if carry is None:
        carry = beam_carry(model, batch, beam=beam, max_labels=max_labels)
    encoder, encoded, mask = encoded_frames(model, carry.encoder, xs, mask, gaps)
    axes = len(batch)
    state = jax.tree.map(lambda x: flat_batch(x, axes), tuple(carry)[1:])
    step = jax.vmap(partial(_frame, model, max_symbols))

    def one_frame(state, inputs):
        encoded, real = inputs
        beam, offset, frame = state
        after, best = step(beam, encoded, frame)
        return tree_where(real, (after, offset + best, frame + 1), state), None

    state, _ = lax.scan(one_frame, state, (encoded, mask))
    state = jax.tree.map(lambda x: x.reshape(*batch, *x.shape[1:]), state)
    carry = BeamCarry(encoder, *state)
    scores = carry.beam.scores + carry.offset[..., None]
    return carry, used_only(NBest(carry.beam.labels, scores, carry.beam.times))


def _frame(
    model: nnx.Module, max_symbols: int, beam: Beam, encoded: Array, frame: Array
) -> tuple[Beam, Array]:
    """Returns the hypotheses of one stream after a time step, and what their scores are less."""
    count, max_labels = beam.labels.shape

    def one_round(loop):
        # Open hypotheses are in this time step; closed ones have taken the blank out of it.
        number, beam, is_open = loop
        logits = model.joint(jnp.expand_dims(encoded, 0), beam.predicted)
        log_probs = jax.nn.log_softmax(logits)
        closed = jnp.where(is_open, -jnp.inf, beam.scores)
        opened = jnp.where(is_open, beam.scores, -jnp.inf)
        by_blank = opened + log_probs[:, BLANK]
        # A hypothesis that closes is added to a closed one of equal labels.
        same = equal_labels(beam.labels, beam.labels) & (by_blank > -jnp.inf)[:, None]
        same = same & (closed > -jnp.inf)[None]
        arriving = jnp.where(same, by_blank[:, None], -jnp.inf)
        source, best_arriving = jnp.argmax(arriving, 0), jnp.max(arriving, 0)
        times = jnp.where((best_arriving > closed)[:, None], beam.times[source], beam.times)
        closed = jnp.logaddexp(closed, best_arriving)
        by_blank = jnp.where(jnp.any(same, 1), -jnp.inf, by_blank)
        may_emit = (number < max_symbols) & (beam.lengths < max_labels)
        by_label = jnp.where(may_emit[:, None], opened[:, None] + log_probs[:, 1:], -jnp.inf)

        candidates = jnp.concatenate([closed, by_blank, by_label.reshape(-1)])
        scores, chosen = lax.top_k(candidates, count)
        emits = (chosen >= 2 * count) & (scores > -jnp.inf)
        classes = by_label.shape[1]
        parent = jnp.where(chosen < 2 * count, chosen % count, (chosen - 2 * count) // classes)
        label = jnp.where(emits, (chosen - 2 * count) % classes + 1, BLANK)
        old = jax.tree.map(lambda x: x[parent], beam._replace(times=times))
        predictor, predicted = model.predictor.step(old.predictor, label)
        now = jnp.broadcast_to(frame, label.shape)
        after = Beam(
            labels=append_label(old.labels, old.lengths, label, emits),
            times=append_label(old.times, old.lengths, now, emits),
            lengths=old.lengths + emits.astype(jnp.int32),
            scores=scores,
            predictor=tree_where(emits, predictor, old.predictor),
            predicted=tree_where(emits, predicted, old.predicted),
        )
        return number + 1, after, emits

    def is_unfinished(loop):
        return jnp.any(loop[2])

    start = jnp.int32(0), beam, beam.scores > -jnp.inf
    _, beam, _ = lax.while_loop(is_unfinished, one_round, start)
    best = jnp.where(beam.scores[0] > -jnp.inf, beam.scores[0], 0)
    return beam._replace(scores=beam.scores - best), best
