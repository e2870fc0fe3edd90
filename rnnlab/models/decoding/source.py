"""Decode the targets of sources with an encoder-decoder, in one compiled program."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from rnnlab.layers.decoder_stack import DecoderCarry
from rnnlab.models.decoding.beam_search import beam_search, greedy_search
from rnnlab.models.decoding.decoded import Decoded
from rnnlab.scan.varying import match_varying
from rnnlab.validation import require_positive_int


def decode_source(
    model: Any,
    source: Array,
    mask: Array | None,
    *,
    max_length: int,
    begin: int,
    end: int,
    beam: int,
    length_penalty: float,
) -> Decoded:
    """Returns the most probable targets of each source that a search finds.

    Args:
      model: an `EncoderDecoder`. It is used without dropout.
      source, mask, max_length, begin, end, beam, length_penalty: as of `EncoderDecoder.decode`.

    Raises:
      ValueError: the targets are values, or an argument is out of range.
    """
    if model.vocab_size is None or model.vocab_size != model.features:
        raise ValueError(
            "the decoder must predict the tokens that it reads, got vocab_size "
            f"{model.vocab_size} and out_features {model.features}; call step"
        )
    for name, token in (("begin", begin), ("end", end)):
        if token is None or not 0 <= token < model.vocab_size:
            raise ValueError(
                f"{name} must be a token id in 0 to {model.vocab_size - 1}, got {token}; pass the "
                f"id that targets {name} with"
            )
    require_positive_int(max_length=max_length, beam=beam)
    source, mask = model.source_embedding.validate("xs", source, mask, time=True)
    if source.ndim != (2 if model.source_features is None else 3):
        raise ValueError(
            f"xs must have one batch axis, got shape {source.shape}; reshape the sources"
        )
    settings: dict[str, Any] = {"max_length": max_length, "begin": begin, "end": end}
    if beam > 1:
        settings |= {"beam": beam, "length_penalty": length_penalty}
    graphdef, params = nnx.split(model)
    return _decode(graphdef, tuple(settings.items()), params, source, mask)


@partial(jax.jit, static_argnums=(0, 1))
def _decode(
    graphdef: Any, settings: tuple[tuple[str, Any], ...], params: Any, source: Array, mask: Any
) -> Decoded:
    model = nnx.merge(graphdef, params, copy=True)
    model.eval()
    # Behind the axis of the examples one of the hypotheses, which share the memory of the source.
    start = jax.tree.map(lambda x: jnp.expand_dims(x, 1), model.encode(source, mask))
    # The state after a step varies over the axes of the source and of the parameters.
    _, start = match_varying((nnx.state(model), start))

    def step(layers, tokens):
        carry, logits = model.step(DecoderCarry(layers, start.memory), tokens)
        return carry.layers, logits

    search = beam_search if "beam" in dict(settings) else greedy_search
    return search(step, start.layers, len(source), **dict(settings))
