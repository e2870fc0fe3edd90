"""One time step of a model as Python calls it in each runtime: token in, logits out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jax import lax

from rnnlab.export import CARRY, INPUTS, NEXT_CARRY, OUTPUTS, flatten_carry, litert
from rnnlab.export.onnx import open_session
from rnnlab.models import SequenceModel

Stream = Callable[[np.ndarray], np.ndarray]
"""Reads tokens (time, batch) from a new sequence; returns the last logits (batch, vocabulary)."""


class StepProgram(NamedTuple):
    """A step that keeps its state in its runtime where that allows it.

    Attributes:
      start: returns the state of new sequences.
      step: returns the next state and the logits (batch, vocabulary) of tokens (batch,) of int32.
        Logits may be a buffer that the next step overwrites.
    """

    start: Callable[[], Any]
    step: Callable[[Any, np.ndarray], tuple[Any, np.ndarray]]

    def stream(self, tokens: np.ndarray) -> np.ndarray:
        """Reads tokens (time, batch) from a new sequence; returns a copy of the last logits."""
        carry, step = self.start(), self.step
        for token in tokens:
            carry, logits = step(carry, token)
        return np.array(logits)

    def all_logits(self, tokens: np.ndarray) -> np.ndarray:
        """Returns the logits (time, batch, vocabulary) of tokens (time, batch)."""
        carry, found = self.start(), []
        for token in tokens:
            carry, logits = self.step(carry, token)
            found.append(np.array(logits))
        return np.stack(found)


def jitted_step(model: SequenceModel, batch_size: int, device: jax.Device) -> StepProgram:
    """JAX's jitted step, with the parameters as a tuple of arrays."""
    graphdef, state = nnx.split(model)
    leaves, structure = jax.tree.flatten(state)
    leaves, start = jax.device_put((tuple(leaves), model.initial_carry((batch_size,))), device)

    @jax.jit
    def compiled(leaves, carry, token):
        state = jax.tree.unflatten(structure, leaves)
        return nnx.merge(graphdef, state, copy=True).step(carry, token)

    def step(carry, token):
        carry, logits = compiled(leaves, carry, token)
        return carry, np.asarray(logits)

    return StepProgram(lambda: start, step)


def compiled_loop(model: SequenceModel, batch_size: int, device: jax.Device) -> Stream:
    """JAX's loop over all tokens in one program."""
    graphdef, state = nnx.split(model)
    state, start = jax.device_put((state, model.initial_carry((batch_size,))), device)

    @jax.jit
    def loop(state, carry, tokens):
        model = nnx.merge(graphdef, state, copy=True)
        return lax.scan(model.step, carry, tokens)

    return lambda tokens: np.asarray(loop(state, start, tokens)[1])[-1]


def onnx_step(content: bytes, model: SequenceModel, batch_size: int, threads: int) -> StepProgram:
    """`InferenceSession.run`, which takes and returns NumPy arrays."""
    session = open_session(content, threads)
    start = _start(model, batch_size)
    names = [OUTPUTS, *(name.replace(CARRY, NEXT_CARRY, 1) for name in start)]

    def step(carry, token):
        logits, *after = session.run(names, {INPUTS: token, **carry})
        return dict(zip(start, after, strict=True)), logits

    return StepProgram(lambda: start, step)


def bound_step(content: bytes, model: SequenceModel, batch_size: int, threads: int) -> StepProgram:
    """A session that reads and writes buffers of its own, two for each state."""
    from onnxruntime import OrtValue

    session = open_session(content, threads)
    start = _start(model, batch_size)
    token_buffer = np.zeros(batch_size, np.int32)
    logits = np.zeros((batch_size, model.out_features), np.float32)
    # On the CPU an OrtValue of an array is a view of it.
    fixed = {INPUTS: OrtValue.ortvalue_from_numpy(token_buffer)}
    written = {OUTPUTS: OrtValue.ortvalue_from_numpy(logits)}
    arrays = [{name: x.copy() for name, x in start.items()} for _ in range(2)]
    values = [
        {name: OrtValue.ortvalue_from_numpy(x) for name, x in side.items()} for side in arrays
    ]
    bindings: list[Any] = []
    for before, after in (values, values[::-1]):
        binding = session.io_binding()
        for name, value in {**fixed, **before}.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in written.items():
            binding.bind_ortvalue_output(name, value)
        for name, value in after.items():
            binding.bind_ortvalue_output(name.replace(CARRY, NEXT_CARRY, 1), value)
        bindings.append(binding)

    def restart() -> int:
        for name, x in start.items():
            arrays[0][name][...] = x
        return 0

    def step(side, token):
        token_buffer[...] = token
        session.run_with_iobinding(bindings[side])
        return 1 - side, logits

    return StepProgram(restart, step)


def litert_step(content: bytes, model: SequenceModel, batch_size: int, threads: int) -> StepProgram:
    """The signature of a LiteRT file, with NumPy arrays."""
    run = litert.read(content, threads)
    start = _start(model, batch_size)

    def step(carry, token):
        results = run({INPUTS: token, **carry})
        carry = {name: results[name.replace(CARRY, NEXT_CARRY, 1)] for name in start}
        return carry, results[OUTPUTS]

    return StepProgram(lambda: start, step)


def _start(model: SequenceModel, batch_size: int) -> dict[str, np.ndarray]:
    """Returns the initial carry by name."""
    carry = flatten_carry(model.initial_carry((batch_size,)))
    return {name: np.array(x) for name, x in carry.items()}
