"""Every backend of the scan against a floor: the same bytes, read and written by one program."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax

from rnnlab import records
from rnnlab.bench.speedup import find_device
from rnnlab.bench.timing import compare_to_bound, prepare, time_interleaved
from rnnlab.bench.variants import plain_scan
from rnnlab.scan import BACKENDS, linear_scan, resolve_backend
from rnnlab.tables import Table, machine
from rnnlab.validation import require_one_of

PLAIN = "associative_scan, autodiff"


@dataclass(frozen=True)
class Scan:
    """Times every backend of linear_scan, forward and forward + backward, over shape and length.

    The floor of the forward pass is `a * 0.5 + b`: it reads and writes the same three arrays. That
    of forward + backward adds a second program of five, behind an optimisation barrier. Beside the
    backends runs jax.lax.associative_scan differentiated by JAX. Writes OUT/scan.jsonl and
    OUT/scan.png, and prints the table.

    Attributes:
      shapes: batch x time x width.
      backend: which backends; one that does not run here stands for what runs in its place.
      dtype: dtype of all arrays.
      repeats: timed rounds.
      device: cpu, gpu, tpu, or auto for the one that JAX prefers.
      out: folder for the results. Rows are added to those that are there.
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

    def validate(self) -> None:
        """Raises ValueError at the first option that is out of range."""
        for backend in self.backend:
            require_one_of("backend", backend, BACKENDS)
        for shape in self.shapes:
            parse_shape(shape)
        if self.repeats < 1:
            raise ValueError(f"repeats is {self.repeats}; at least 1 is needed")


def parse_shape(text: str) -> tuple[int, int, int]:
    """
    >>> parse_shape("8x2048x512")
    (8, 2048, 512)
    """
    parts = text.split("x")
    if len(parts) != 3 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise ValueError(f"shapes has {text!r}; batch x time x width is needed, like 8x2048x512")
    batch_size, length, width = map(int, parts)
    return batch_size, length, width


def run(
    config: Scan, advance: Callable[[str], None] = lambda text: None
) -> Iterator[records.Record]:
    """Measures and yields rows, each written to OUT/scan.jsonl before it is yielded."""
    config.validate()
    device = find_device(config.device)
    common = {"benchmark": "scan", **records.environment(device)}
    ran = dict.fromkeys(resolve_backend(b, device.platform, config.dtype) for b in config.backend)
    scans = {b: partial(linear_scan, backend=b) for b in ran} | {PLAIN: plain_scan}
    for shape in config.shapes:
        batch_size, length, width = parse_shape(shape)
        operands = jax.device_put(_operands(batch_size, length, width, config.dtype), device)
        for pass_, wrap, floor in (
            ("forward", _forward, _forward_floor),
            ("forward + backward", _with_backward, _with_backward_floor),
        ):
            advance(f"{shape}, {pass_}")
            ready = [prepare(floor, *operands)]
            ready += [prepare(wrap(scan), *operands) for scan in scans.values()]
            floor_seconds, *seconds = time_interleaved([r.call for r in ready], config.repeats)
            for backend, prepared, times in zip(scans, ready[1:], seconds, strict=True):
                row = {
                    **common,
                    "backend": backend,
                    "pass": pass_,
                    "batch_size": batch_size,
                    "length": length,
                    "width": width,
                    "dtype": config.dtype,
                    "seed": 0,
                    "repeats": config.repeats,
                    **compare_to_bound(prepared, times, floor_seconds),
                }
                records.append(config.out / "scan.jsonl", row)
                yield row


def steps(config: Scan) -> int:
    """How often `run` calls `advance`."""
    return 2 * len(config.shapes)


def table(measured: list[records.Record]) -> Table:
    headings = (
        "batch × time × width",
        "pass",
        "backend",
        "time, ms",
        "floor, ms",
        "× floor",
        "quartiles",
        "temporaries, MB",
        "compile, s",
    )
    lines = [
        (
            f"{r['batch_size']} × {r['length']} × {r['width']}",
            r["pass"],
            r["backend"],
            f"{1e3 * r['seconds']:.2f}",
            f"{1e3 * r['floor_seconds']:.2f}",
            f"{r['ratio']:.2f}",
            f"{r['ratio_q1']:.2f} to {r['ratio_q3']:.2f}",
            "" if r["temp_bytes"] is None else f"{r['temp_bytes'] / 1e6:,.1f}",
            f"{r['compile_seconds']:.2f}",
        )
        for r in measured
    ]
    ends = {k for k, (row, after) in enumerate(pairwise(lines)) if row[:2] != after[:2]}
    title = f"linear_scan on {machine(measured[0])}; {measured[0]['dtype']}"
    return Table(title, headings, lines, frozenset(ends))


def _operands(batch_size, length, width, dtype):
    keys = jax.random.split(jax.random.key(0), 4)
    shape = (batch_size, length, width)
    a = jax.nn.sigmoid(jax.random.normal(keys[0], shape, dtype))
    b, dh = (jax.random.normal(k, shape, dtype) for k in keys[1:3])
    return a, b, jax.random.normal(keys[3], (batch_size, width), dtype), dh


def _forward(scan):
    return lambda a, b, h0, dh: scan(a, b, h0)


def _with_backward(scan):
    def call(a, b, h0, dh):
        h, pull = jax.vjp(scan, a, b, h0)
        return h, pull(dh)

    return call


def _forward_floor(a, b, h0, dh):
    return a * jnp.asarray(0.5, a.dtype) + b


def _with_backward_floor(a, b, h0, dh):
    h, a, dh = lax.optimization_barrier((_forward_floor(a, b, h0, dh), a, dh))
    return h, dh * h, dh + a
