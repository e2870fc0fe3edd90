"""Decode with a transducer: greedily or by beam search, whole sequences or streams of chunks.

Both searches read the inputs in any number of chunks: what a chunk returns with the carry of the
one before equals the result of one call. The inputs of a chunk are encoded in parallel, then one
loop over its time steps emits labels. With chunks of one time step the memory of a stream does not
depend on its length.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from rnnlab.argument_errors import explain_arguments
from rnnlab.layers import Bidirectional
from rnnlab.losses.label_sequences import BLANK, NO_LABEL, frame_counts, label_counts
from rnnlab.losses.transducer import transducer_loss
from rnnlab.models.decoding.emissions import emission_times, labels_of
from rnnlab.models.decoding.hypotheses import NBest, append_label, best_of, equal_labels, used_only
from rnnlab.recurrent import tree_where
from rnnlab.validation import require_positive_int


class GreedyCarry(NamedTuple):
    """The state of greedy decoding of streams.

    Attributes:
      encoder: carry of the encoder.
      predictor: carry of the prediction network after the last label.
      predicted: (*batch, features) its output.
      log_prob: (*batch,) log probability of the alignment so far.
    """

    encoder: Any
    predictor: Any
    predicted: Array
    log_prob: Array


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


def greedy_carry(model: nnx.Module, batch_shape: tuple[int, ...] = ()) -> GreedyCarry:
    """Returns the state of greedy decoding before the first time step.

    Args:
      model: the transducer.
      batch_shape: axes of the streams.
    """
    predictor, predicted = _predict_first(model, batch_shape)
    log_prob = jnp.zeros(batch_shape, predicted.dtype)
    return GreedyCarry(model.initial_carry(batch_shape), predictor, predicted, log_prob)


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
    predictor, predicted = _predict_first(model, shape)
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
def transducer_greedy(
    model: nnx.Module,
    xs: Float[Array, "*batch time in_features"] | Int[Array, "*batch time"],
    carry: GreedyCarry | None = None,
    *,
    mask: Bool[Array, "*batch time"] | None = None,
    gaps: Float[Array, "*batch time"] | None = None,
    max_symbols: int = 3,
) -> tuple[GreedyCarry, Int[Array, "*batch time max_symbols"]]:
    """Emits at each time step the most likely class until that is the blank.

    Args:
      model: the transducer. It is used without dropout.
      xs: the next inputs of each stream.
      carry: the state of the streams before these inputs; None: `greedy_carry`.
      mask: False in padding, which emits nothing.
      gaps: as in a call of the model.
      max_symbols: number of labels that a time step may emit. After as many the blank is taken.

    Returns:
      The state after the inputs, and the labels that each time step emits, negative where it
      emits fewer. `labels_of` joins them to one sequence.

    Raises:
      ValueError: max_symbols is not an int >= 1, or the encoder is bidirectional and carry given.

    >>> from rnnlab.models.config import ModelConfig
    >>> model = ModelConfig(width=8, depth=1).build(
    ...     5, in_features=2, loss="transducer", rngs=nnx.Rngs(0)
    ... )
    >>> carry, labels = transducer_greedy(model, jnp.ones((2, 6, 2)))
    >>> labels.shape, labels_of(labels).shape
    ((2, 6, 3), (2, 18))
    """
    require_positive_int(max_symbols=max_symbols)
    _require_causal(model, carry)
    graphdef, params = nnx.split(model)
    return _greedy(graphdef, max_symbols, params, carry, jnp.asarray(xs), mask, gaps)


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
    _require_causal(model, carry)
    xs = jnp.asarray(xs)
    time = xs.shape[-1 if model.vocab_size is not None else -2]
    if carry is None:
        max_labels = max(time * max_symbols, 1) if max_labels is None else max_labels
        require_positive_int(max_labels=max_labels)
    graphdef, params = nnx.split(model)
    settings = beam, max_labels, max_symbols
    return _beam(graphdef, settings, params, carry, xs, mask, gaps)


@explain_arguments
def transducer_decode(
    model: nnx.Module,
    xs: Float[Array, "*batch time in_features"] | Int[Array, "*batch time"],
    *,
    mask: Bool[Array, "*batch time"] | None = None,
    gaps: Float[Array, "*batch time"] | None = None,
    beam: int = 4,
    max_labels: int | None = None,
    max_symbols: int = 3,
) -> NBest:
    """Returns the most likely labels of whole sequences, with the model's own probabilities.

    The hypotheses of `transducer_beam` and the labels of `transducer_greedy` are ranked by the log
    probability of their labels over all alignments. The first one is therefore never less likely
    than the greedy one. With a beam of 1 it is the greedy one.

    Arguments are those of `transducer_beam`.

    Returns:
      `beam` hypotheses, best first; scores are log probabilities in nats.
    """
    require_positive_int(beam=beam, max_symbols=max_symbols)
    xs = jnp.asarray(xs)
    time = xs.shape[-1 if model.vocab_size is not None else -2]
    max_labels = max(time * max_symbols, 1) if max_labels is None else max_labels
    require_positive_int(max_labels=max_labels)
    graphdef, params = nnx.split(model)
    return _decode(graphdef, (beam, max_labels, max_symbols), params, xs, mask, gaps)


def _predict_first(model: nnx.Module, shape: tuple[int, ...]) -> tuple[Any, Array]:
    """Returns the carry and the output of the prediction network before any label."""
    start = model.predictor.initial_carry(shape)
    return model.predictor.step(start, jnp.full(shape, BLANK, jnp.int32))


def _encode(model, carry, xs, mask, gaps):
    """Returns the encoder's carry, and its outputs and the mask by time step, with one batch axis.

    A stream that goes on must be causal.
    """
    options = {} if gaps is None else {"gaps": gaps}
    carry, encoded = model.encode(carry, xs, mask=mask, **options)
    batch, (time, features) = encoded.shape[:-2], encoded.shape[-2:]
    if mask is None:
        mask = jnp.ones((*batch, time), bool)
    mask = mask.reshape(math.prod(batch), time)
    encoded = encoded.reshape(math.prod(batch), time, features)
    return carry, jnp.moveaxis(encoded, 1, 0), jnp.moveaxis(mask, 1, 0)


@partial(jax.jit, static_argnums=(0, 1))
def _greedy(graphdef, max_symbols, params, carry, xs, mask, gaps):
    model = nnx.merge(graphdef, params, copy=True)
    model.eval()
    batch = xs.shape[:-1] if model.vocab_size is not None else xs.shape[:-2]
    carry = greedy_carry(model, batch) if carry is None else carry
    encoder, encoded, mask = _encode(model, carry.encoder, xs, mask, gaps)
    axes = len(batch)
    state = jax.tree.map(lambda x: _flat(x, axes), tuple(carry)[1:])

    def one_frame(state, inputs):
        encoded, real = inputs

        def choose(predicted):
            log_probs = jax.nn.log_softmax(model.joint(encoded, predicted))
            chosen = jnp.argmax(log_probs, -1).astype(jnp.int32)
            return chosen, log_probs

        def log_prob_of(log_probs, label):
            return jnp.take_along_axis(log_probs, label[:, None], -1)[:, 0]

        def emits(loop):
            number, *_, chosen, _, active, _ = loop
            return (number < max_symbols) & jnp.any(active & (chosen != BLANK))

        def emit(loop):
            number, predictor, predicted, total, chosen, log_probs, active, emitted = loop
            active = active & (chosen != BLANK)
            total = total + jnp.where(active, log_prob_of(log_probs, chosen), 0)
            emitted = emitted.at[:, number].set(jnp.where(active, chosen, NO_LABEL))
            after, output = model.predictor.step(predictor, chosen)
            predictor = tree_where(active, after, predictor)
            predicted = tree_where(active, output, predicted)
            chosen, new_log_probs = choose(predicted)
            log_probs = tree_where(active, new_log_probs, log_probs)
            return number + 1, predictor, predicted, total, chosen, log_probs, active, emitted

        predictor, predicted, total = state
        emitted = jnp.full((real.shape[0], max_symbols), NO_LABEL, jnp.int32)
        start = (jnp.int32(0), predictor, predicted, total, *choose(predicted), real, emitted)
        _, predictor, predicted, total, _, log_probs, _, emitted = lax.while_loop(
            emits, emit, start
        )
        total = total + jnp.where(real, log_probs[:, BLANK], 0)
        return (predictor, predicted, total), emitted

    state, emitted = lax.scan(one_frame, state, (encoded, mask))
    state = jax.tree.map(lambda x: x.reshape(*batch, *x.shape[1:]), state)
    emitted = jnp.moveaxis(emitted, 0, 1).reshape(*batch, -1, max_symbols)
    return GreedyCarry(encoder, *state), emitted


@partial(jax.jit, static_argnums=(0, 1))
def _beam(graphdef, settings, params, carry, xs, mask, gaps):
    model = nnx.merge(graphdef, params, copy=True)
    model.eval()
    beam, max_labels, max_symbols = settings
    batch = xs.shape[:-1] if model.vocab_size is not None else xs.shape[:-2]
    if carry is None:
        carry = beam_carry(model, batch, beam=beam, max_labels=max_labels)
    encoder, encoded, mask = _encode(model, carry.encoder, xs, mask, gaps)
    axes = len(batch)
    state = jax.tree.map(lambda x: _flat(x, axes), tuple(carry)[1:])
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


@partial(jax.jit, static_argnums=(0, 1))
def _decode(graphdef, settings, params, xs, mask, gaps):
    beam, max_labels, max_symbols = settings
    _, found = _beam(graphdef, settings, params, None, xs, mask, gaps)
    _, emitted = _greedy(graphdef, max_symbols, params, None, xs, mask, gaps)
    rows = [(0, 0)] * (emitted.ndim - 2) + [(0, max_labels)]
    greedy, times = (
        jnp.pad(x, rows, constant_values=NO_LABEL)[..., None, :max_labels]
        for x in (labels_of(emitted), emission_times(emitted))
    )
    labels = jnp.concatenate([found.labels, greedy], -2)
    times = jnp.concatenate([found.times, times], -2)
    model = nnx.merge(graphdef, params, copy=True)
    model.eval()
    options = {} if gaps is None else {"gaps": gaps}
    _, encoded = model.encode(None, xs, mask=mask, **options)
    lengths = frame_counts(mask, encoded.shape[:-1])

    def log_prob(labels):
        nodes = model.lattice(encoded, labels)
        counts = label_counts(labels)
        return -transducer_loss(nodes[..., 0], nodes[..., :-1, 1], lengths, counts)

    exact = jnp.moveaxis(lax.map(log_prob, jnp.moveaxis(labels, -2, 0)), 0, -1)
    unused = jnp.pad(found.scores == -jnp.inf, [(0, 0)] * (found.scores.ndim - 1) + [(0, 1)])
    return best_of(NBest(labels, jnp.where(unused, -jnp.inf, exact), times), beam)


def _flat(x: Array, axes: int) -> Array:
    """Returns an array whose leading axes are one."""
    return x.reshape(math.prod(x.shape[:axes]), *x.shape[axes:])


def _require_causal(model: nnx.Module, carry: Any) -> None:
    """Raises ValueError for a stream that goes on through an encoder that reads from its end."""
    reads_the_end = any(isinstance(part, Bidirectional) for _, part in nnx.iter_modules(model))
    if carry is not None and reads_the_end:
        raise ValueError(
            "carry must be None where the encoder is bidirectional, which needs whole sequences, "
            "got a carry; decode whole sequences, or train with model.bidirectional=False"
        )
