"""Classic cells in parallel over time: whether they converge, in how many iterations, how fast."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from rnnlab.analysis import lyapunov_exponents
from rnnlab.bench.base import SHAPE, Benchmark, Column, OnProgress, Workload, key_column
from rnnlab.bench.timing import compare_to_reference, compile_program, time_interleaved
from rnnlab.bench.variants import module_variant, with_gradients
from rnnlab.cells import CELLS
from rnnlab.cells.nonlinear import NonlinearCell
from rnnlab.records import Record
from rnnlab.tables import device_label, format_ms, format_range, format_ratio

CLASSIC = tuple(name for name, cell in CELLS.items() if issubclass(cell, NonlinearCell))


@dataclass(frozen=True)
class NewtonBenchmark(Benchmark):
    """Runs classic cells, as initialized, with `backend="newton"` and with `backend="scan"`.

    A record has the iterations and the residual, the errors of values and gradients relative to the
    loop, the times of both, and the largest Lyapunov exponent of the states, whose sign shows
    whether the iteration can contract. Writes OUT/rows.jsonl and prints the table.

    Attributes:
      shapes: batch x time x width.
      cells: names of classic cells.
      recurrent_gains: norms of the recurrent weights, which are orthogonal per gate.
      repeats: timed rounds.
      device: cpu, gpu, tpu, or auto for the one that JAX prefers.
      out: output directory. Records are appended to those that are there.
    """

    shapes: tuple[str, ...] = ("1x1024x128", "8x1024x128", "1x16384x128")
    cells: tuple[str, ...] = ("rnn", "gru", "lstm")
    recurrent_gains: tuple[float, ...] = (1.0,)
    repeats: int = 3
    device: str = "auto"
    out: Path = Path("runs/newton")

    name = "newton"
    choices: ClassVar = {"cells": CLASSIC}
    columns = (
        key_column("cell"),
        key_column("weights"),
        SHAPE,
        Column("Lyapunov exponent", lambda r: f"{r['lyapunov_exponent']:.3f}"),
        key_column("iterations"),
        Column("residual", lambda r: f"{r['residual']:.0e}"),
        Column("converged", lambda r: "yes" if r["converged"] else "no: the loop ran"),
        Column("max relative error", lambda r: f"{r['value_error']:.0e}"),
        Column("of gradients", lambda r: f"{r['gradient_error']:.0e}"),
        Column("time, ms", lambda r: format_ms(r["seconds"])),
        Column("loop, ms", lambda r: format_ms(r["reference_seconds"])),
        Column("relative to loop", lambda r: format_ratio(r["ratio"])),
    )

    def cases(self) -> Sequence[tuple[str, str, float]]:
        return [
            (shape, cell, gain)
            for shape in self.shapes
            for cell in self.cells
            for gain in self.recurrent_gains
        ]

    def measure(
        self, case: tuple[str, str, float], device: jax.Device, on_progress: OnProgress
    ) -> Iterator[Record]:
        shape, name, gain = case
        on_progress(f"{shape}, {name}, norm {gain}")
        workload = Workload.of_shape(shape, device)
        init = nnx.initializers.orthogonal(scale=gain)
        cell = CELLS[name](workload.width, workload.width, rngs=nnx.Rngs(0), recurrent_init=init)
        yield {
            "cell": name,
            "weights": f"as initialized, norm {gain:g}",
            "repeats": self.repeats,
            **measure_cell(cell, workload.inputs(), self.repeats),
        }

    @classmethod
    def conclusion(cls, measured: Sequence[Record]) -> str:
        good = [r for r in measured if r["converged"]]
        text = f"Newton's iteration converged in {len(good)} of {len(measured)} cases."
        if good:
            ratios = format_range(r["ratio"] for r in good)
            text += f" There it took {ratios} times as long as the loop."
        return text

    @classmethod
    def title(cls, measured: Sequence[Record]) -> str:
        return f"forward and backward on {device_label(measured[0])}; {measured[0]['dtype']}"


def measure_cell(cell: NonlinearCell, xs: Array, repeats: int) -> Record:
    """The keys of a record: `cell` on inputs (batch, time, in_features), with both backends."""
    carry = cell.initial_carry(xs.shape[:1])
    dys = jax.random.normal(jax.random.key(1), (*xs.shape[:2], cell.features))
    programs, results = [], []
    for backend in ("newton", "scan"):
        copy = nnx.clone(cell)
        copy.backend = backend
        layer = module_variant(copy)
        run = with_gradients(layer.outputs)
        programs.append(compile_program(run, layer.params, xs, dys))
        with jax.default_matmul_precision("float32"):  # not the errors of TF32
            results.append(jax.jit(run)(layer.params, xs, dys))
    (ys, gradients), (reference_ys, reference_gradients) = results
    report = cell.newton_info(carry, xs)
    seconds, loop = time_interleaved(programs, repeats)
    return {
        "batch_size": xs.shape[0],
        "length": xs.shape[1],
        "width": cell.features,
        "dtype": "float32",
        "iterations": int(report.iterations),
        "residual": float(report.residual),
        "converged": bool(report.converged),
        "value_error": _max_relative_error(ys, reference_ys),
        "gradient_error": _max_relative_error(gradients, reference_gradients),
        "lyapunov_exponent": float(lyapunov_exponents(cell, carry, xs).mean()),
        **compare_to_reference(programs[0], seconds, loop),
    }


def _max_relative_error(found: Any, reference: Any) -> float:
    """The largest difference of any array, relative to that array's largest entry."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(reference), strict=True)
    return max(float(jnp.max(jnp.abs(x - y)) / jnp.max(jnp.abs(y))) for x, y in pairs)
