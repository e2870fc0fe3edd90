"""Exported steps: the time of one time step that Python calls, in ONNX Runtime and in JAX."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import jax
import numpy as np
from flax import nnx

from rnnlab.bench.base import Benchmark, Column, OnProgress, key_column
from rnnlab.bench.steps import (
    Stream,
    bound_step,
    compiled_loop,
    jitted_step,
    litert_step,
    onnx_step,
)
from rnnlab.bench.timing import TimedProgram, quartiles, time_interleaved, time_keys
from rnnlab.bench.torch_programs import available
from rnnlab.bench.torch_steps import has_torch_twin, torch_step
from rnnlab.export import litert, onnx_int8, onnx_int8_blocks
from rnnlab.export.onnx import write
from rnnlab.models.config import ModelConfig, count_parameters
from rnnlab.records import Record
from rnnlab.registry import find_cell
from rnnlab.tables import device_label, format_range, format_ratio

VOCAB_SIZE = 256
REFERENCE = "JAX, jitted step"
"""The implementation that times are reported relative to."""

LITERT = {"LiteRT": False, "LiteRT, int8": True}
"""Implementations on LiteRT, and whether their kernels are int8."""

INT8 = "int8"
"""Part of the names of implementations whose kernels are integers, and whose logits differ."""
TORCH = "torch, nn.GRU"


@dataclass(frozen=True)
class ExportBenchmark(Benchmark):
    """Times one step of a language model as an ONNX file, compared with its jitted step in JAX.

    Python passes a token to each step and reads its logits, as a server does. The state stays in
    the runtime where that allows it. The lower bound is JAX's loop over all steps in one program,
    which returns to Python only at the end. If torch is installed, it runs a model of GRU cells
    too, with the same weights. Writes OUT/rows.jsonl and prints the table.

    Attributes:
      cells: names of cells or layers; "+" joins those of one model.
      batches: parallel streams.
      width, depth: of the model; its cells have twice that width.
      steps: time steps per measurement.
      threads: numbers of threads of ONNX Runtime, LiteRT and torch; JAX uses all cores.
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
        Column("tokens/s", lambda r: f"{r['batch_size'] / r['seconds']:,.0f}"),
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
        contents = {
            "": write(model, "step"),
            ", int8": onnx_int8.write(model, "step"),
            ", int8 in blocks": onnx_int8_blocks.write(model, "step"),
        }
        file_bytes: dict[str, int] = {}
        streams: dict[tuple[str, int | None], Stream] = {
            (REFERENCE, None): jitted_step(model, batch_size, device).stream,
            ("JAX, one compiled loop", None): compiled_loop(model, batch_size, device),
        }
        for weights, content in contents.items():
            for threads in self.threads:
                for way, make in (("", onnx_step), (", bound buffers", bound_step)):
                    name = f"ONNX Runtime{weights}{way}"
                    streams[name, threads] = make(content, model, batch_size, threads).stream
                    file_bytes[name] = len(content)
        for name, int8 in LITERT.items() if self.litert else ():
            small = litert.write(model, "step", batch_size=batch_size, int8=int8)
            file_bytes[name] = len(small)
            for threads in self.threads:
                streams[name, threads] = litert_step(small, model, batch_size, threads).stream
        for threads in self.threads if has_torch_twin(model) and available("gru", "cpu") else ():
            streams[TORCH, threads] = torch_step(model, batch_size, threads).stream
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
        exact = [r for r in measured if INT8 not in r["implementation"]]
        ratios = [r["ratio"] for r in exact if r["implementation"].startswith("ONNX")]
        if not ratios:
            return "No file was timed."
        difference = max(r["difference"] for r in exact)
        return (
            f"A step in ONNX Runtime takes {format_range(ratios)} times as long as JAX's jitted "
            f"step. Logits of float32 differ by at most {difference:.0e} of the largest."
        )

    @classmethod
    def title(cls, measured: Sequence[Record]) -> str:
        first = measured[0]
        return (
            f"width {first['width']}, depth {first['depth']}, vocabulary {VOCAB_SIZE}, ONNX "
            f"Runtime {first['onnxruntime']}, on {device_label(first)}; {first['dtype']}"
        )
