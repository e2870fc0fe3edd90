"""Every backend of the scan against its bandwidth bound: the same bytes, moved by one program."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from rnnlab.bench.base import (
    COMPILE,
    RATIO_QUARTILES,
    SHAPE,
    TEMP_MEMORY,
    Benchmark,
    Column,
    OnProgress,
    Workload,
    key_column,
    ratio_column,
)
from rnnlab.bench.timing import compare_to_reference, compile_program, time_interleaved
from rnnlab.bench.variants import naive_associative_scan
from rnnlab.records import Record
from rnnlab.scan import BACKENDS, linear_scan, resolve_backend
from rnnlab.tables import device_label, format_range

NAIVE_SCAN = "associative_scan, autodiff"


@dataclass(frozen=True)
class ScanBenchmark(Benchmark):
    """Times every backend of linear_scan, forward and forward + backward, at several shapes.

    The bandwidth bound of the forward pass is the time of `a * 0.5 + b`, which reads and writes the
    same three arrays. That of forward + backward adds a second program of five arrays, behind an
    optimization barrier. jax.lax.associative_scan, differentiated by JAX, is timed as well. Writes
    OUT/rows.jsonl and OUT/figure.png, and prints the table.

    Attributes:
      shapes: batch x time x width.
      backend: backends; one that does not run on this device is replaced by the one that does.
      dtype: dtype of all arrays.
      repeats: timed rounds.
      device: cpu, gpu, tpu, or auto for the one that JAX prefers.
      out: output directory. Records are appended to those that are there.
    """

    shapes: tuple[str, ...] = (
        "8x512x512",
        "8x2048x512",
        "16x777x256",
        "64x256x384",
        "1x4096x64",
        "1x16384x64",
    )
    backend: tuple[str, ...] = BACKENDS[1:]
    dtype: str = "float32"
    repeats: int = 15
    device: str = "auto"
    out: Path = Path("runs/scan")

    name = "scan"
    choices: ClassVar = {"backend": BACKENDS}
    section_keys = ("batch_size", "length", "width", "pass")
    columns = (
        SHAPE,
        key_column("pass"),
        key_column("backend"),
        Column("time, ms", lambda r: f"{1e3 * r['seconds']:.2f}"),
        Column("bound, ms", lambda r: f"{1e3 * r['reference_seconds']:.2f}"),
        ratio_column("× bandwidth bound"),
        RATIO_QUARTILES,
        TEMP_MEMORY,
        COMPILE,
    )

    def cases(self) -> Sequence[tuple[str, str]]:
        return [(shape, pass_) for shape in self.shapes for pass_ in PASSES]

    def measure(
        self, case: tuple[str, str], device: jax.Device, on_progress: OnProgress
    ) -> Iterator[Record]:
        shape, pass_ = case
        on_progress(f"{shape}, {pass_}")
        workload = Workload.of_shape(shape, device, self.dtype)
        operands = _operands(workload)
        ran = dict.fromkeys(
            resolve_backend(b, device.platform, self.dtype, features=workload.width)
            for b in self.backend
        )
        scans = {b: partial(linear_scan, backend=b) for b in ran}
        scans[NAIVE_SCAN] = naive_associative_scan
        wrap, bound = PASSES[pass_]
        programs = [compile_program(f, *operands) for f in (bound, *map(wrap, scans.values()))]
        reference, *seconds = time_interleaved(programs, self.repeats)
        for backend, program, times in zip(scans, programs[1:], seconds, strict=True):
            yield {
                "backend": backend,
                "pass": pass_,
                **workload.sizes,
                "repeats": self.repeats,
                **compare_to_reference(program, times, reference),
            }

    @classmethod
    def conclusion(cls, measured: Sequence[Record]) -> str:
        sentences = []
        for pass_ in dict.fromkeys(r["pass"] for r in measured):
            ratios: dict[str, list[float]] = {}
            for r in measured:
                if r["pass"] == pass_:
                    ratios.setdefault(r["backend"], []).append(r["ratio"])
            found = ", ".join(f"{name} {format_range(x)}" for name, x in ratios.items())
            sentences.append(f"{pass_.capitalize()}, relative to the bandwidth bound: {found}.")
        return " ".join(sentences)

    @classmethod
    def title(cls, measured: Sequence[Record]) -> str:
        return f"linear_scan on {device_label(measured[0])}; {measured[0]['dtype']}"

    @classmethod
    def figure(cls, measured: Sequence[Record]):
        from rnnlab.bench.plots import scan_figure

        return scan_figure(measured)


def _operands(workload: Workload):
    """The decay a, the input b, the initial state h0, and the cotangent dh of the states."""
    keys = jax.random.split(jax.random.key(0), 4)
    shape = (workload.batch_size, workload.length, workload.width)
    a = jax.nn.sigmoid(jax.random.normal(keys[0], shape, workload.dtype))
    b, dh = (jax.random.normal(k, shape, workload.dtype) for k in keys[1:3])
    h0 = jax.random.normal(keys[3], (workload.batch_size, workload.width), workload.dtype)
    return jax.device_put((a, b, h0, dh), workload.device)


def _forward(scan):
    return lambda a, b, h0, dh: scan(a, b, h0)


def _with_backward(scan):
    def call(a, b, h0, dh):
        h, vjp = jax.vjp(scan, a, b, h0)
        return h, vjp(dh)

    return call


def _forward_bound(a, b, h0, dh):
    return a * jnp.asarray(0.5, a.dtype) + b


def _with_backward_bound(a, b, h0, dh):
    h, a, dh = lax.optimization_barrier((_forward_bound(a, b, h0, dh), a, dh))
    return h, dh * h, dh + a


PASSES = {
    "forward": (_forward, _forward_bound),
    "forward + backward": (_with_backward, _with_backward_bound),
}
"""By name: what wraps a scan, and the program of the same bytes."""
