"""The one call of a model on a batch, and the one decoding of a batch by a model."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from rnnlab.call_validation import gap_option
from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.tasks.decoding import Decoding


def call_model(
    model: nnx.Module, carry: Any, batch: Batch, key: Array | None = None
) -> tuple[Any, Array]:
    """Returns the carry and the outputs of a model for a batch, as a loss reads them.

    A model gets only the fields that it reads: `reset` and `mask` always, `gaps` where its
    `uses_gaps` is True, `source` and `source_mask` where its `uses_source` is, and `labels` where
    its `uses_labels` is.

    Args:
      model: the model.
      carry: its carry before the batch; () is the initial one.
      batch: examples.
      key: randomness of dropout; None: without dropout.

    >>> from rnnlab import ModelConfig
    >>> model = ModelConfig(width=8, depth=1).build(5, vocab_size=5, rngs=nnx.Rngs(0))
    >>> call_model(model, (), Batch(jnp.array([[1, 4, 2]]), None))[1].shape
    (1, 3, 5)
    """
    if carry == ():
        carry = model.initial_carry(batch.inputs.shape[:1])
    options = {"reset": batch.reset, "mask": batch.mask} | gap_option(model, batch.gaps)
    if getattr(model, "uses_source", False):
        options |= {"source": batch.source.inputs, "source_mask": batch.source.mask}
    if getattr(model, "uses_labels", False):
        options["labels"] = batch.labels
    return model(carry, batch.inputs, key=key, **options)


def decode_batch(model: nnx.Module, batch: Batch, decoding: Decoding) -> Array:
    """Returns the most probable label sequence of each example by a model's own decoder.

    The model has `decode(xs, mask, *, max_length, begin, end, beam, length_penalty)`, where `xs` is
    what its encoder reads: the source where its `uses_source` is True, else the inputs. The result
    has `labels` (batch, beam, max_length), the best hypothesis first, -1 after their ends.

    Args:
      model: the model, in evaluation mode.
      batch: examples.
      decoding: the settings of the decoder.

    Returns:
      Labels (batch, max_length) of int32, `IGNORE_INDEX` after their ends.
    """
    read = batch.source if getattr(model, "uses_source", False) else batch
    decoded = model.decode(read.inputs, read.mask, **vars(decoding))
    labels = decoded.labels[:, 0]
    return jnp.where(labels < 0, IGNORE_INDEX, labels)
