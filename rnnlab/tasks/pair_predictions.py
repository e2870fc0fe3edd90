"""Predicted targets of new sources, in batches of similar length."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from rnnlab.tasks.batch import Batch
from rnnlab.tasks.batching.padding import pad_batch
from rnnlab.tasks.predictions import Outputs
from rnnlab.tasks.sequence_pairs import PairForm

Target = TypeVar("Target")


def predicted_texts(
    outputs: Outputs,
    sources: Sequence[np.ndarray],
    form: PairForm,
    batch_size: int,
    decode: Callable[[np.ndarray, Batch], Sequence[Target]],
) -> list[Target]:
    """Returns the prediction for each source, in the order of the sources.

    Sources are padded to a multiple of 8 tokens, so that few programs are compiled.

    Args:
      outputs: the model; of one with a decoder, its label sequences.
      sources: token ids of each.
      form: of the batches.
      batch_size: sources per batch.
      decode: returns the prediction of each example from the outputs of a batch and the batch.

    >>> def last_token(batch):
    ...     return batch.source.inputs.max(axis=1, keepdims=True)
    >>> def decode(labels, batch):
    ...     return labels[:, 0].tolist()
    >>> sources = [np.array([5, 7]), np.array([3])]
    >>> predicted_texts(last_token, sources, PairForm(), 1, decode)
    [7, 3]
    """
    order = sorted(range(len(sources)), key=lambda k: len(sources[k]))
    found: dict[int, Target] = {}
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        length = -(-len(sources[numbers[-1]]) // 8) * 8
        batch = form.source_batch([sources[k] for k in numbers], length)
        batch = pad_batch(batch, min(batch_size, len(order)))
        decoded = decode(np.asarray(outputs(batch)), batch)
        found |= dict(zip(numbers, decoded, strict=False))  # padding follows the examples
    return [found[k] for k in range(len(order))]
