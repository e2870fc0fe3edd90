"""Slots whose model is an exported ONNX file, run by ONNX Runtime on the CPU.

For few streams its step takes less time than a compiled step of JAX. Tokens are sampled by the same
program as with JAX, so that both engines give the same text.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from scipy.special import log_softmax

from rnnlab.export.names import CARRY, GAPS, INPUTS, NEXT_CARRY, OUTPUTS, flatten_carry
from rnnlab.export.onnx import runtime
from rnnlab.models import SequenceModel
from rnnlab.serve.sampling import NUM_SETTINGS, POSITION, sample_rows
from rnnlab.serve.slots import (
    CHUNKS,
    Read,
    bucket_of,
    buckets,
    predicts_inputs,
    read_buckets,
    require_streaming,
)


class OnnxSlots:
    """Slots of an exported model.

    Args:
      model: what was exported; gives the shapes and the initial state.
      step: content of its `step.onnx`.
      sequence: content of its `sequence.onnx`, which reads inputs in parallel; None reads them
        step by step.
      num_slots: streams that have a state at the same time.
      per_call: tokens that `advance` generates.

    Raises:
      ValueError: the model cannot stream, or the package onnxruntime is missing.
    """

    def __init__(
        self,
        model: SequenceModel,
        step: bytes,
        sequence: bytes | None,
        num_slots: int,
        per_call: int,
    ):
        require_streaming(model)
        self.num_slots, self.per_call = num_slots, per_call
        self._step = runtime.read(step)
        self._sequence = None if sequence is None else runtime.read(sequence)
        self._dtype = np.int32 if model.in_features is None else np.float32
        self._uses_gaps = model.uses_gaps
        self._can_generate = predicts_inputs(model)
        self._step_rows, self._read_rows = buckets(num_slots), read_buckets(num_slots)
        self._features = () if model.in_features is None else (model.in_features,)
        self._out_features = model.out_features
        carry = flatten_carry(model.initial_carry((1,)))
        self._initial = {name: np.asarray(leaf) for name, leaf in carry.items()}
        self._cpu = jax.devices("cpu")[0]
        self._sample = jax.jit(sample_rows)
        self.clear()

    @property
    def max_read_rows(self) -> int:
        """Rows that one `read` accepts."""
        return self._read_rows[-1]

    def clear(self) -> None:
        """Starts over with new states, see `Slots.clear`."""
        count = self.num_slots + 1
        self._carry = {name: np.repeat(leaf, count, axis=0) for name, leaf in self._initial.items()}
        self._logits = np.zeros((count, self._out_features), np.float32)

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
        longest = max(map(len, xs))
        outputs = np.zeros((len(rows), longest, self._out_features), np.float32)
        surprise = np.zeros((len(rows), longest), np.float32)
        # The file has no mask: rows of different lengths are read apart.
        for length in sorted(set(map(len, xs))):
            members = [k for k, x in enumerate(xs) if len(x) == length]
            group = self._read_group(
                np.array([rows[k] for k in members]),
                np.stack([xs[k] for k in members]),
                np.array([first[k] for k in members]),
                None if gaps is None else np.stack([gaps[k] for k in members]),
            )
            outputs[members, :length], surprise[members, :length] = group
        lengths = np.array([len(x) for x in xs])
        bad = ~np.isfinite(outputs).all(-1) & (np.arange(longest)[None] < lengths[:, None])
        not_finite = np.where(bad.any(1), bad.argmax(1), -1)
        return Read(outputs if wants_outputs else None, surprise, not_finite)

    def advance(self, rows: Sequence[int], settings: np.ndarray) -> np.ndarray:
        """Generates tokens for each row, see `Slots.advance`."""
        padded = self._padded(rows, self._step_rows)
        state = np.zeros((len(padded), NUM_SETTINGS), np.int32)
        state[: len(rows)] = settings
        tokens = []
        for _ in range(self.per_call):
            with jax.default_device(self._cpu):
                sampled = np.asarray(self._sample(self._logits[padded], state))
            tokens.append(sampled[: len(rows)])
            state[:, POSITION] += 1
            inputs = np.maximum(sampled, 0).astype(np.int32)
            self._logits[padded] = self._run(self._step, padded, inputs)
        return np.stack(tokens, axis=1)

    def warm_up(self) -> None:
        """Runs every size once, on the spare row."""
        spare = self.num_slots
        for chunk in CHUNKS:
            xs = [np.zeros((chunk, *self._features), self._dtype)]
            gaps = [np.zeros(chunk, np.float32)] if self._uses_gaps else None
            self.read([spare], xs, [True], gaps)
        if self._can_generate:
            for size in self._step_rows:
                self.advance([spare] * size, np.zeros((size, NUM_SETTINGS), np.int32))

    def _read_group(
        self, rows: np.ndarray, inputs: np.ndarray, first: np.ndarray, gaps: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns predictions and surprise of inputs (rows, time) of the same length."""
        for name, leaf in self._carry.items():
            leaf[rows[first]] = self._initial[name]
        count, padded = len(rows), self._padded(rows, self._read_rows)
        extra = len(padded) - count
        inputs_padded = np.pad(inputs, [(0, extra)] + [(0, 0)] * (inputs.ndim - 1))
        inputs_padded = inputs_padded.astype(self._dtype)
        gaps_padded = None if gaps is None else np.pad(gaps, [(0, extra), (0, 0)])
        if self._sequence is not None and inputs.shape[1] > 1:
            outputs = self._run(self._sequence, padded, inputs_padded, gaps_padded)
        else:
            steps = range(inputs.shape[1])
            parts = [
                self._run(
                    self._step,
                    padded,
                    inputs_padded[:, t],
                    None if gaps_padded is None else gaps_padded[:, t],
                )
                for t in steps
            ]
            outputs = np.stack(parts, axis=1)
        outputs = outputs[:count]
        surprise = np.zeros(inputs.shape[:2], np.float32)
        if self._can_generate:
            before = np.concatenate([self._logits[rows][:, None], outputs[:, :-1]], axis=1)
            scores = log_softmax(before, axis=-1)
            surprise = -np.take_along_axis(scores, inputs[..., None], axis=-1)[..., 0]
            surprise[first, 0] = np.nan
        self._logits[rows] = outputs[:, -1]
        return outputs, surprise

    def _run(
        self,
        function: runtime.Function,
        rows: np.ndarray,
        inputs: np.ndarray,
        gaps: np.ndarray | None = None,
    ) -> np.ndarray:
        """Advances the states of rows and returns the predictions."""
        feeds: dict[str, np.ndarray] = {name: leaf[rows] for name, leaf in self._carry.items()}
        feeds[INPUTS] = inputs
        if gaps is not None:
            feeds[GAPS] = gaps
        found: Mapping[str, np.ndarray] = function(feeds)
        for name, leaf in self._carry.items():
            leaf[rows] = found[name.replace(CARRY, NEXT_CARRY, 1)]
        return found[OUTPUTS]

    def _padded(self, rows: Sequence[int] | np.ndarray, sizes: Sequence[int]) -> np.ndarray:
        """Returns rows and the spare row, up to a bucket: bits depend on the number of rows."""
        padded = np.full(bucket_of(len(rows), sizes), self.num_slots)
        padded[: len(rows)] = rows
        return padded
