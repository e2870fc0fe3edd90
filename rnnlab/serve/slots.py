"""Slots: the states of all streams of a model as rows of arrays, whatever runs the model.

A call works on some rows. Their number is rounded up to a bucket, and the length of a chunk of
inputs to one of few lengths, so that few programs are compiled.
"""

import bisect
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from rnnlab.models import SequenceModel

CHUNKS = (1, 16, 128)
"""Lengths of the chunks in which inputs are read."""
READ_ROWS = (1, 8, 32)
"""Numbers of rows that one call reads."""


class Read(NamedTuple):
    """The result of one call that reads inputs of several rows.

    Attributes:
      outputs: (rows, chunk, out_features), the predictions; None if they were not asked for.
      surprise: (rows, chunk), the negative log likelihood of each input token given those before
        it; NaN at the first of a stream. Zeros if the model does not predict its next input.
      not_finite: (rows,), the first time step of the chunk whose predictions are not finite; -1
        where all are.
    """

    outputs: np.ndarray | None
    surprise: np.ndarray
    not_finite: np.ndarray


class Slots(Protocol):
    """The states of the streams of one version of a model. One thread calls it at a time."""

    num_slots: int

    @property
    def max_read_rows(self) -> int:
        """Rows that one `read` accepts."""

    def read(
        self,
        rows: Sequence[int],
        xs: Sequence[np.ndarray],
        first: Sequence[bool],
        gaps: Sequence[np.ndarray] | None = None,
        *,
        wants_outputs: bool = False,
    ) -> Read:
        """Reads one chunk of inputs for each row.

        Args:
          rows: different slots.
          xs: the inputs, at most `chunk_length` of each of them.
          first: whether the row starts a stream: its state is reset before.
          gaps: time since the input before, for models that use it.
          wants_outputs: whether to return the predictions.
        """

    def advance(self, rows: Sequence[int], settings: np.ndarray) -> np.ndarray:
        """Generates tokens for each row, (rows, per_call); NOT_FINITE where a state is not.

        Args:
          rows: different slots, whose prompts have been read.
          settings: (rows, NUM_SETTINGS) of `rnnlab.serve.sampling`.
        """

    def warm_up(self) -> None:
        """Compiles and runs every program once."""

    def clear(self) -> None:
        """Starts over with new states, after a call that failed and may have lost them."""


def chunk_length(remaining: int) -> int:
    """Returns the length of the chunk in which the next of `remaining` time steps are read.

    It depends on nothing else, so that a stream's numbers do not depend on its neighbors.

    >>> [chunk_length(n) for n in (1, 2, 17, 100, 1000)]
    [1, 16, 128, 128, 128]
    """
    return CHUNKS[min(bisect.bisect_left(CHUNKS, remaining), len(CHUNKS) - 1)]


def buckets(num_slots: int) -> tuple[int, ...]:
    """Returns the numbers of rows for which a step is compiled: powers of two, then all slots.

    >>> buckets(12)
    (1, 2, 4, 8, 12)
    """
    powers = (1 << k for k in range(num_slots.bit_length()))
    return (*(n for n in powers if n < num_slots), num_slots)


def read_buckets(num_slots: int) -> tuple[int, ...]:
    """Returns the numbers of rows for which a read is compiled.

    >>> read_buckets(2), read_buckets(256)
    ((1, 2), (1, 8, 32))
    """
    most = min(num_slots, READ_ROWS[-1])
    return (*(n for n in READ_ROWS if n < most), most)


def bucket_of(count: int, sizes: Sequence[int]) -> int:
    """Returns the smallest of the ascending `sizes` that is >= `count`.

    >>> bucket_of(3, (1, 2, 4))
    4
    """
    return sizes[bisect.bisect_left(sizes, count)]


def predicts_inputs(model: SequenceModel) -> bool:
    """Returns whether a model's outputs can be logits of its next input.

    >>> from flax import nnx
    >>> from rnnlab.models.config import ModelConfig
    >>> model = ModelConfig(width=8, depth=1).build(5, vocab_size=9, rngs=nnx.Rngs(0))
    >>> predicts_inputs(model)
    False
    """
    return model.vocab_size == model.out_features


def require_streaming(model: SequenceModel) -> None:
    """Raises if a model has no step.

    Raises:
      ValueError: the model reads its sequences in both directions.
    """
    try:
        dtype = jnp.int32 if model.in_features is None else jnp.float32
        x = jnp.zeros((1,) if model.in_features is None else (1, model.in_features), dtype)
        gaps = {"gaps": jnp.zeros((1,), jnp.float32)} if model.uses_gaps else {}
        jax.eval_shape(lambda: model.step(model.initial_carry((1,)), x, **gaps))
    except ValueError as error:  # a layer without a step raises MissingMethodError, which is one
        raise ValueError(
            f"the model must read one time step after another, got one that cannot: {error}; "
            "serve a model with bidirectional=False"
        ) from error
