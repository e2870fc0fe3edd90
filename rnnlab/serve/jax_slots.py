"""Slots whose model is run by JAX.

A device call gathers the rows that run, advances them, and scatters them back into the donated
arrays. A spare row takes the padding of a bucket. Parameters are arguments of the programs: other
weights compile nothing.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from rnnlab.models import SequenceModel
from rnnlab.serve.sampling import NUM_SETTINGS, POSITION, sample_rows
from rnnlab.serve.slots import (
    CHUNKS,
    Read,
    bucket_of,
    buckets,
    chunk_length,
    predicts_inputs,
    read_buckets,
    require_streaming,
)


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
