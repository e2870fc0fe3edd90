"""A minimal layer's training step against the time of its matmuls."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from rnnlab.bench.base import (
    RATIO_QUARTILES,
    SHAPE,
    Benchmark,
    Column,
    OnProgress,
    Workload,
    key_column,
    ratio_column,
)
from rnnlab.bench.timing import compare_to_reference, compile_program, time_interleaved
from rnnlab.bench.variants import module_variant, with_gradients
from rnnlab.cells import CELLS
from rnnlab.plotting import cell_label
from rnnlab.records import Record
from rnnlab.scan import resolve_backend
from rnnlab.tables import device_label, format_range

CELL_NAMES = ("mingru", "minlstm")


@dataclass(frozen=True)
class LayerBenchmark(Benchmark):
    """Times a minimal layer's training step: its output, and the gradients of parameters and input.

    The reference is the layer's three matmuls in one program: the inputs times all kernels, the
    cotangent times their transpose, and the transposed inputs times the cotangent. Writes
    OUT/rows.jsonl and prints the table.

    Attributes:
      shapes: batch x time x width.
      repeats: timed rounds.
      device: cpu, gpu, tpu, or auto for the one that JAX prefers.
      out: output directory. Records are appended to those that are there.
    """

    shapes: tuple[str, ...] = ("8x2048x512", "64x256x256")
    repeats: int = 11
    device: str = "auto"
    out: Path = Path("runs/layer")

    name = "layer"
    columns = (
        SHAPE,
        key_column("cell"),
        Column("training step, ms", lambda r: f"{1e3 * r['seconds']:.1f}"),
        Column("matmuls only, ms", lambda r: f"{1e3 * r['reference_seconds']:.1f}"),
        ratio_column("relative to matmuls"),
        RATIO_QUARTILES,
    )

    def cases(self) -> Sequence[tuple[str, str]]:
        return [(shape, cell) for shape in self.shapes for cell in CELL_NAMES]

    def measure(
        self, case: tuple[str, str], device: jax.Device, on_progress: OnProgress
    ) -> Iterator[Record]:
        shape, name = case
        on_progress(f"{shape}, {name}")
        workload = Workload.of_shape(shape, device)
        xs, dys = workload.inputs(0), workload.inputs(1)
        cell = CELLS[name](workload.width, workload.width, rngs=nnx.Rngs(0))
        layer = module_variant(cell)
        params = jax.device_put(layer.params, device)
        kernels = [getattr(cell, f"{p}_kernel")[...] for p in cell.projections]
        kernel = jax.device_put(jnp.concatenate(kernels, -1), device)
        programs = (
            compile_program(with_gradients(layer.outputs), params, xs, dys),
            compile_program(_matmuls, kernel, xs),
        )
        seconds, reference = time_interleaved(programs, self.repeats)
        yield {
            "cell": name,
            "backend": resolve_backend("auto", device.platform, features=workload.width),
            **workload.sizes,
            "repeats": self.repeats,
            **compare_to_reference(programs[0], seconds, reference),
        }

    @classmethod
    def conclusion(cls, measured: Sequence[Record]) -> str:
        sentences = []
        for cell in dict.fromkeys(r["cell"] for r in measured):
            ratios = format_range(r["ratio"] for r in measured if r["cell"] == cell)
            step = f"A training step of {cell_label(cell)}"
            sentences.append(f"{step} takes {ratios} times as long as the matmuls in it.")
        return " ".join(sentences)

    @classmethod
    def title(cls, measured: Sequence[Record]) -> str:
        return f"minimal layers on {device_label(measured[0])}; {measured[0]['dtype']}"


def _matmuls(kernel, xs):
    flat = xs.reshape(-1, xs.shape[-1])
    # The barrier makes the first product stand for a cotangent that is not known before it.
    dpre = lax.optimization_barrier(flat @ kernel)
    return dpre, dpre @ kernel.T, flat.T @ dpre
