"""Streams of a transducer: what greedy decoding and beam search share."""

import math
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from rnnlab.layers import Bidirectional
from rnnlab.losses.label_sequences import BLANK


def first_prediction(model: nnx.Module, shape: tuple[int, ...]) -> tuple[Any, Array]:
    """Returns the carry and the output of the prediction network before any label."""
    start = model.predictor.initial_carry(shape)
    return model.predictor.step(start, jnp.full(shape, BLANK, jnp.int32))


def encoded_frames(model, carry, xs, mask, gaps):
    """Returns the encoder's carry, and its outputs and the mask by time step, of flat batches."""
    options = {} if gaps is None else {"gaps": gaps}
    carry, encoded = model.encode(carry, xs, mask=mask, **options)
    batch, (time, features) = encoded.shape[:-2], encoded.shape[-2:]
    if mask is None:
        mask = jnp.ones((*batch, time), bool)
    mask = mask.reshape(math.prod(batch), time)
    encoded = encoded.reshape(math.prod(batch), time, features)
    return carry, jnp.moveaxis(encoded, 1, 0), jnp.moveaxis(mask, 1, 0)


def flat_batch(x: Array, axes: int) -> Array:
    """Returns an array whose leading axes are one."""
    return x.reshape(math.prod(x.shape[:axes]), *x.shape[axes:])


def require_causal(model: nnx.Module, carry: Any) -> None:
    """Raises ValueError for a stream that continues through an encoder that reads from its end."""
    reads_the_end = any(isinstance(part, Bidirectional) for _, part in nnx.iter_modules(model))
    if carry is not None and reads_the_end:
        raise ValueError(
            "carry must be None where the encoder is bidirectional, which needs whole sequences, "
            "got a carry; decode whole sequences, or train with model.bidirectional=False"
        )
