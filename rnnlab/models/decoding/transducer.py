"""The most likely labels of whole sequences by a transducer, with their own probabilities."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from rnnlab.argument_errors import explain_arguments
from rnnlab.losses.label_sequences import NO_LABEL, frame_counts, label_counts
from rnnlab.losses.transducer import transducer_loss
from rnnlab.models.decoding.emissions import emission_times, labels_of
from rnnlab.models.decoding.hypotheses import NBest, best_of
from rnnlab.models.decoding.transducer_beam import transducer_beam
from rnnlab.models.decoding.transducer_greedy import transducer_greedy
from rnnlab.validation import require_positive_int


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


@partial(jax.jit, static_argnums=(0, 1))
def _decode(graphdef, settings, params, xs, mask, gaps):
    beam, max_labels, max_symbols = settings
    model = nnx.merge(graphdef, params, copy=True)
    model.eval()
    options = {"mask": mask, "gaps": gaps, "max_symbols": max_symbols}
    _, found = transducer_beam(model, xs, beam=beam, max_labels=max_labels, **options)
    _, emitted = transducer_greedy(model, xs, **options)
    rows = [(0, 0)] * (emitted.ndim - 2) + [(0, max_labels)]
    greedy, times = (
        jnp.pad(x, rows, constant_values=NO_LABEL)[..., None, :max_labels]
        for x in (labels_of(emitted), emission_times(emitted))
    )
    labels = jnp.concatenate([found.labels, greedy], -2)
    times = jnp.concatenate([found.times, times], -2)
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
