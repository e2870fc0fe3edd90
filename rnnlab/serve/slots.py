"""Slots: the states of all streams as rows of arrays, advanced in buckets of rows by JAX.

A device call gathers the rows that run, advances them, and scatters them back into the donated
arrays. The number of rows is rounded up to a bucket, so that few programs are compiled; a spare row
takes the padding. Parameters are arguments of the programs: other weights compile nothing.
"""

import bisect
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from rnnlab.models import SequenceModel
from rnnlab.serve.sampling import NUM_SETTINGS, POSITION, sample_rows

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


class JaxSlots:
    """Slots on the device that JAX prefers.

    Args:
      model: a model that has a `step`; dropout is off.
      num_slots: streams that have a state at the same time.
      per_call: tokens that `advance` generates.

    Raises:
      ValueError: the model reads a sequence in both directions and cannot stream.

    >>> from flax import nnx
    >>> from rnnlab.models.config import ModelConfig
    >>> model = ModelConfig(width=8, depth=1).build(5, vocab_size=5, rngs=nnx.Rngs(0))
    >>> slots = JaxSlots(model, 2, 3)
    >>> slots.read([1], [np.array([4, 0])], [True], wants_outputs=True).outputs.shape
    (1, 16, 5)
    >>> slots.advance([1], np.zeros((1, NUM_SETTINGS), np.int32)).shape
    (1, 3)
    """

    def __init__(self, model: SequenceModel, num_slots: int, per_call: int):
        require_streaming(model)
        model.eval()
        graphdef, weights = nnx.split(model)
        leaves, structure = jax.tree.flatten(weights)
        self.num_slots = num_slots
        self.per_call = per_call
        self._weights = tuple(jax.device_put(leaf) for leaf in leaves)
        self._programs = _programs(graphdef, structure, per_call)
        self._is_token = model.in_features is None
        self._features = () if self._is_token else (model.in_features,)
        self._uses_gaps = model.uses_gaps
        self._can_generate = predicts_inputs(model)
        self._step_rows = buckets(num_slots)
        self._read_rows = read_buckets(num_slots)
        carry = model.initial_carry((1,))
        logits = jnp.zeros((1, model.out_features), jnp.float32)
        self._initial = tuple(np.asarray(x) for x in (*jax.tree.leaves(carry), logits))
        self.clear()

    @property
    def max_read_rows(self) -> int:
        """Rows that one `read` accepts."""
        return self._read_rows[-1]

    @property
    def state_bytes(self) -> int:
        """Bytes of the states of all slots."""
        return sum(leaf.size * leaf.dtype.itemsize for leaf in self._state)

    def read(
        self,
        rows: Sequence[int],
        xs: Sequence[np.ndarray],
        first: Sequence[bool],
        gaps: Sequence[np.ndarray] | None = None,
        *,
        wants_outputs: bool = False,
    ) -> Read:
        """Reads one chunk of inputs for each row, see `Slots.read`."""
        size = bucket_of(len(rows), self._read_rows)
        chunk = chunk_length(max(map(len, xs)))
        dtype = np.int32 if self._is_token else np.float32
        flags = np.zeros((size, 3), np.int32)  # row, length, whether it is the first chunk
        flags[:, 0] = self.num_slots
        flags[: len(rows), 0] = rows
        flags[: len(rows), 1] = [len(x) for x in xs]
        flags[: len(rows), 2] = first
        inputs = np.zeros((size, chunk, *self._features), dtype)
        padded_gaps = np.zeros((size, chunk), np.float32) if self._uses_gaps else None
        for k, x in enumerate(xs):
            inputs[k, : len(x)] = x
            if padded_gaps is not None:
                padded_gaps[k, : len(x)] = gaps[k]
        self._state, outputs, surprise, not_finite = self._programs.read(
            self._weights, self._state, flags, inputs, padded_gaps
        )
        return Read(
            np.asarray(outputs)[: len(rows)] if wants_outputs else None,
            np.asarray(surprise)[: len(rows)],
            np.asarray(not_finite)[: len(rows)],
        )

    def advance(self, rows: Sequence[int], settings: np.ndarray) -> np.ndarray:
        """Generates tokens for each row, see `Slots.advance`."""
        size = bucket_of(len(rows), self._step_rows)
        packed = np.zeros((size, 1 + NUM_SETTINGS), np.int32)
        packed[:, 0] = self.num_slots
        packed[: len(rows), 0] = rows
        packed[: len(rows), 1:] = settings
        self._state, tokens = self._programs.advance(self._weights, self._state, packed)
        return np.asarray(tokens)[: len(rows)]

    def clear(self) -> None:
        """Starts over with new states, see `Slots.clear`."""
        # Each leaf has a buffer of its own: one that is shared cannot be donated twice.
        self._state = tuple(
            jnp.array(np.repeat(leaf, self.num_slots + 1, axis=0)) for leaf in self._initial
        )

    def warm_up(self) -> None:
        """Compiles and runs every program once, on the spare row."""
        spare, dtype = self.num_slots, np.int32 if self._is_token else np.float32
        for chunk in CHUNKS:
            for size in self._read_rows:
                xs = [np.zeros((chunk, *self._features), dtype)] * size
                gaps = [np.zeros(chunk, np.float32)] * size if self._uses_gaps else None
                self.read([spare] * size, xs, [True] * size, gaps)
        if self._can_generate:
            for size in self._step_rows:
                self.advance([spare] * size, np.zeros((size, NUM_SETTINGS), np.int32))


def predicts_inputs(model: SequenceModel) -> bool:
    """Returns whether a model's outputs can be logits of its next input.

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


class _Programs(NamedTuple):
    read: Callable[..., Any]
    advance: Callable[..., Any]


@functools.lru_cache(maxsize=16)
def _programs(graphdef: Any, structure: Any, per_call: int) -> _Programs:
    """Returns the programs of all models that differ only in their weights."""

    def restore(weights: tuple[Array, ...]) -> SequenceModel:
        return nnx.merge(graphdef, jax.tree.unflatten(structure, weights), copy=True)

    def gather(model, state, rows):
        carry = jax.tree.structure(jax.eval_shape(lambda: model.initial_carry((1,))))
        *leaves, logits = (leaf[rows] for leaf in state)
        return jax.tree.unflatten(carry, leaves), logits

    def scatter(state, rows, carry, logits):
        new = (*jax.tree.leaves(carry), logits)
        return tuple(
            leaf.at[rows].set(x.astype(leaf.dtype)) for leaf, x in zip(state, new, strict=True)
        )

    @functools.partial(jax.jit, donate_argnums=1)
    def read(weights, state, flags, xs, gaps):
        model = restore(weights)
        rows, lengths, first = flags[:, 0], flags[:, 1], flags[:, 2] > 0
        carry, logits = gather(model, state, rows)
        steps = jnp.arange(xs.shape[1])
        mask = steps[None] < lengths[:, None]
        reset = (steps == 0)[None] & first[:, None]
        carry, outputs = model(carry, xs, reset=reset, mask=mask, gaps=gaps)
        surprise = jnp.zeros(xs.shape[:2], jnp.float32)
        if predicts_inputs(model):
            before = jnp.concatenate([logits[:, None], outputs[:, :-1]], axis=1)
            surprise = jnp.where(reset, jnp.nan, _surprise(before, xs))
        last = jnp.maximum(lengths - 1, 0)[:, None, None]
        latest = jnp.take_along_axis(outputs, last, axis=1)[:, 0]
        logits = jnp.where(lengths[:, None] > 0, latest, logits)
        bad = ~jnp.isfinite(outputs).all(-1) & mask
        not_finite = jnp.where(bad.any(1), jnp.argmax(bad, axis=1), -1)
        return scatter(state, rows, carry, logits), outputs, surprise, not_finite

    @functools.partial(jax.jit, donate_argnums=1)
    def advance(weights, state, packed):
        model = restore(weights)
        rows, settings = packed[:, 0], packed[:, 1:]
        positions = jnp.arange(NUM_SETTINGS) == POSITION

        def body(at, step):
            carry, logits = at
            tokens = sample_rows(logits, settings + jnp.where(positions, step, 0)[None])
            # After a token that is not one, a row computes numbers that nobody reads.
            carry, logits = model.step(carry, jnp.maximum(tokens, 0))
            return (carry, logits), tokens

        start = gather(model, state, rows)
        (carry, logits), tokens = lax.scan(body, start, jnp.arange(per_call, dtype=jnp.int32))
        return scatter(state, rows, carry, logits), tokens.T

    return _Programs(read, advance)


def _surprise(logits: Array, tokens: Array) -> Array:
    """Returns the negative log likelihood of tokens, (rows, time)."""
    scores = jax.nn.log_softmax(logits, axis=-1)
    return -jnp.take_along_axis(scores, tokens[..., None], axis=-1)[..., 0]
