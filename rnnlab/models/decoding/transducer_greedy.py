"""Greedy decoding with a transducer, of whole sequences or streams of chunks.

What a chunk returns with the carry of the one before equals the result of one call. The inputs of a
chunk are encoded in parallel, then one loop over its time steps emits labels. With chunks of one
time step the memory of a stream does not depend on its length.
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
from rnnlab.models.decoding.streams import (
    encoded_frames,
    first_prediction,
    flat_batch,
    require_causal,
)
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


def greedy_carry(model: nnx.Module, batch_shape: tuple[int, ...] = ()) -> GreedyCarry:
    """Returns the state of greedy decoding before the first time step.

    Args:
      model: the transducer.
      batch_shape: axes of the streams.
    """
    predictor, predicted = first_prediction(model, batch_shape)
    log_prob = jnp.zeros(batch_shape, predicted.dtype)
    return GreedyCarry(model.initial_carry(batch_shape), predictor, predicted, log_prob)


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

    >>> from rnnlab.models.decoding.emissions import labels_of
    >>> from rnnlab.models.config import ModelConfig
    >>> model = ModelConfig(width=8, depth=1).build(
    ...     5, in_features=2, loss="transducer", rngs=nnx.Rngs(0)
    ... )
    >>> carry, labels = transducer_greedy(model, jnp.ones((2, 6, 2)))
    >>> labels.shape, labels_of(labels).shape
    ((2, 6, 3), (2, 18))
    """
    require_positive_int(max_symbols=max_symbols)
    require_causal(model, carry)
    graphdef, params = nnx.split(model)
    return _greedy(graphdef, max_symbols, params, carry, jnp.asarray(xs), mask, gaps)


@partial(jax.jit, static_argnums=(0, 1))
def _greedy(graphdef, max_symbols, params, carry, xs, mask, gaps):
    model = nnx.merge(graphdef, params, copy=True)
    model.eval()
    batch = xs.shape[:-1] if model.vocab_size is not None else xs.shape[:-2]
    carry = greedy_carry(model, batch) if carry is None else carry
    encoder, encoded, mask = encoded_frames(model, carry.encoder, xs, mask, gaps)
    axes = len(batch)
    state = jax.tree.map(lambda x: flat_batch(x, axes), tuple(carry)[1:])

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
