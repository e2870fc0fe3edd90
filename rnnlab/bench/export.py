"""Exported steps: the time of one time step that Python calls, in ONNX Runtime and in JAX."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
from flax import nnx
from jax import lax

from rnnlab.bench.base import Benchmark, Column, OnProgress, key_column
from rnnlab.bench.timing import TimedProgram, quartiles, time_interleaved, time_keys
from rnnlab.export import CARRY, INPUTS, NEXT_CARRY, OUTPUTS, flatten_carry, litert
from rnnlab.export.onnx import open_session, write
from rnnlab.models import SequenceModel
from rnnlab.models.config import ModelConfig, count_parameters
from rnnlab.records import Record
from rnnlab.registry import find_cell
from rnnlab.tables import device_label, format_range, format_ratio

VOCAB_SIZE = 256
REFERENCE = "JAX, jitted step"
"""The implementation that times are reported relative to."""

LITERT = {"LiteRT": False, "LiteRT, int8": True}
"""Implementations on LiteRT, and whether their kernels are int8."""

Stream = Callable[[np.ndarray], np.ndarray]
"""Reads tokens (time, batch) from a new sequence; returns the last logits (batch, vocabulary)."""


@dataclass(frozen=True)
class ExportBenchmark(Benchmark):
    """Times one step of a language model as an ONNX file, compared with its jitted step in JAX.

    Python passes a token to each step and reads its logits, as a server does. The state stays in
    the runtime where that allows it. The lower bound is JAX's loop over all steps in one program,
    which returns to Python only at the end. Writes OUT/rows.jsonl and prints the table.

    Attributes:
      cells: names of cells or layers; "+" joins those of one model.
      batches: parallel streams.
      width, depth: of the model; its cells have twice that width.
      steps: time steps per measurement.
      threads: numbers of threads of ONNX Runtime and LiteRT; JAX uses all cores.
      litert: whether LiteRT files are timed too, of float32 and with kernels of int8; it needs the
        extra `litert`.
      repeats: timed rounds.
      device: cpu.
      out: output directory. Records are appended to those that are there.
    """

    cells: tuple[str, ...] = ("mingru", "gru")
    batches: tuple[int, ...] = (1, 64)
    width: int = 128
    depth: int = 2
    steps: int = 500
    threads: tuple[int, ...] = (1, 2)
    litert: bool = False
    repeats: int = 15
    device: str = "cpu"
    out: Path = Path("runs/export")

    name = "export"
    choices: ClassVar = {"device": ("cpu",)}
    section_keys = ("cell", "batch_size")
    columns = (
        key_column("cell", "model"),
        key_column("batch_size", "streams"),
        key_column("implementation"),
        Column("threads", lambda r: str(r["threads"] or "all")),
        Column("µs per step", lambda r: f"{1e6 * r['seconds']:,.1f}"),
        Column(
            "quartiles", lambda r: f"{1e6 * r['seconds_q1']:,.1f} to {1e6 * r['seconds_q3']:,.1f}"
        ),
        Column("relative to the jitted step", lambda r: format_ratio(r["ratio"])),
        Column("max output difference", lambda r: f"{r['difference']:.0e}"),
    )

    def validate(self) -> None:
        super().validate()
        for cell in self.cells:
            for name in cell.split("+"):
                find_cell(name)

    def cases(self) -> Sequence[tuple[str, int]]:
        """Cell and streams."""
        return [(cell, batch_size) for cell in self.cells for batch_size in self.batches]

    def measure(
        self, case: tuple[str, int], device: jax.Device, on_progress: OnProgress
    ) -> Iterator[Record]:
        cell, batch_size = case
        on_progress(f"{cell}, {batch_size} streams")
        config = ModelConfig(cell=cell, width=self.width, depth=self.depth)
        model = config.build(VOCAB_SIZE, vocab_size=VOCAB_SIZE, rngs=nnx.Rngs(0))
        model.eval()
        tokens = np.random.default_rng(0).integers(
            0, VOCAB_SIZE, (self.steps, batch_size), np.int32
        )
        content, file_bytes = write(model, "step"), {}
        streams: dict[tuple[str, int | None], Stream] = {
            (REFERENCE, None): jitted_stream(model, batch_size, device),
            ("JAX, one compiled loop", None): loop_stream(model, batch_size, device),
        }
        for threads in self.threads:
            for name, make in (("", onnx_stream), (", bound buffers", bound_stream)):
                stream = make(content, model, batch_size, threads)
                streams[f"ONNX Runtime{name}", threads] = stream
                file_bytes[f"ONNX Runtime{name}"] = len(content)
        for name, int8 in LITERT.items() if self.litert else ():
            small = litert.write(model, "step", batch_size=batch_size, int8=int8)
            file_bytes[name] = len(small)
            for threads in self.threads:
                streams[name, threads] = litert_stream(small, model, batch_size, threads)
        logits = {key: stream(tokens) for key, stream in streams.items()}
        programs = [
            TimedProgram(partial(stream, tokens), wait=lambda logits: None)
            for stream in streams.values()
        ]
        seconds = time_interleaved(programs, self.repeats) / self.steps
        reference, reference_seconds = logits[REFERENCE, None], seconds[0]
        for ((name, threads), found), times in zip(logits.items(), seconds, strict=True):
            yield {
                "cell": cell,
                "implementation": name,
                "batch_size": batch_size,
                "length": self.steps,
                "width": self.width,
                "depth": self.depth,
                "vocab_size": VOCAB_SIZE,
                "parameters": count_parameters(model),
                "file_bytes": file_bytes.get(name),
                "threads": threads,
                "onnxruntime": version("onnxruntime"),
                "dtype": "float32",
                "repeats": self.repeats,
                **time_keys(times),
                "reference_seconds": quartiles(reference_seconds)[1],
                **time_keys(times / reference_seconds, "ratio"),
                "difference": float(np.abs(found - reference).max() / np.abs(reference).max()),
            }

    @classmethod
    def conclusion(cls, measured: Sequence[Record]) -> str:
        ratios = [r["ratio"] for r in measured if r["implementation"].startswith("ONNX")]
        if not ratios:
            return "No file was timed."
        difference = max(r["difference"] for r in measured if "int8" not in r["implementation"])
        return (
            f"A step in ONNX Runtime takes {format_range(ratios)} times as long as JAX's jitted "
            f"step. Logits differ by at most {difference:.0e} of the largest."
        )

    @classmethod
    def title(cls, measured: Sequence[Record]) -> str:
        first = measured[0]
        return (
            f"width {first['width']}, depth {first['depth']}, vocabulary {VOCAB_SIZE}, ONNX "
            f"Runtime {first['onnxruntime']}, on {device_label(first)}; {first['dtype']}"
        )


def jitted_stream(model: SequenceModel, batch_size: int, device: jax.Device) -> Stream:
    """Calls JAX's jitted step, with the parameters as a tuple of arrays, for each token."""
    graphdef, state = nnx.split(model)
    leaves, structure = jax.tree.flatten(state)
    leaves, start = jax.device_put((tuple(leaves), model.initial_carry((batch_size,))), device)

    @jax.jit
    def step(leaves, carry, token):
        state = jax.tree.unflatten(structure, leaves)
        return nnx.merge(graphdef, state, copy=True).step(carry, token)

    def stream(tokens: np.ndarray) -> np.ndarray:
        carry = start
        for token in tokens:
            carry, logits = step(leaves, carry, token)
            found = np.asarray(logits)
        return found

    return stream


def loop_stream(model: SequenceModel, batch_size: int, device: jax.Device) -> Stream:
    """Runs JAX's loop over all tokens in one program."""
    graphdef, state = nnx.split(model)
    state, start = jax.device_put((state, model.initial_carry((batch_size,))), device)

    @jax.jit
    def loop(state, carry, tokens):
        model = nnx.merge(graphdef, state, copy=True)
        return lax.scan(model.step, carry, tokens)

    def stream(tokens: np.ndarray) -> np.ndarray:
        return np.asarray(loop(state, start, tokens)[1])[-1]

    return stream


def onnx_stream(content: bytes, model: SequenceModel, batch_size: int, threads: int) -> Stream:
    """Calls `InferenceSession.run` for each token, which takes and returns NumPy arrays."""
    session = open_session(content, threads)
    start = _start(model, batch_size)
    names = [OUTPUTS, *(name.replace(CARRY, NEXT_CARRY, 1) for name in start)]

    def stream(tokens: np.ndarray) -> np.ndarray:
        carry = start
        for token in tokens:
            logits, *after = session.run(names, {INPUTS: token, **carry})
            carry = dict(zip(start, after, strict=True))
        return logits

    return stream


def litert_stream(content: bytes, model: SequenceModel, batch_size: int, threads: int) -> Stream:
    """Calls the signature of a LiteRT file for each token, with NumPy arrays."""
    run = litert.read(content, threads)
    start = _start(model, batch_size)

    def stream(tokens: np.ndarray) -> np.ndarray:
        carry = start
        for token in tokens:
            results = run({INPUTS: token, **carry})
            carry = {name: results[name.replace(CARRY, NEXT_CARRY, 1)] for name in start}
        return results[OUTPUTS]

    return stream


def bound_stream(content: bytes, model: SequenceModel, batch_size: int, threads: int) -> Stream:
    """Calls a session that reads and writes buffers of its own, two for each state."""
    from onnxruntime import OrtValue

    session = open_session(content, threads)
    start = _start(model, batch_size)
    token = np.zeros(batch_size, np.int32)
    logits = np.zeros((batch_size, model.out_features), np.float32)
    # On the CPU an OrtValue of an array is a view of it.
    fixed = {INPUTS: OrtValue.ortvalue_from_numpy(token)}
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

    def stream(tokens: np.ndarray) -> np.ndarray:
        for name, x in start.items():
            arrays[0][name][...] = x
        for k, tokens_of_step in enumerate(tokens):
            token[...] = tokens_of_step
            session.run_with_iobinding(bindings[k % 2])
        return logits.copy()

    return stream


def _start(model: SequenceModel, batch_size: int) -> dict[str, np.ndarray]:
    """Returns the initial carry by name."""
    carry = flatten_carry(model.initial_carry((batch_size,)))
    return {name: np.array(x) for name, x in carry.items()}
