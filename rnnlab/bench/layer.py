"""A minimal layer's training step against the time of its matmuls alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from rnnlab import records
from rnnlab.bench.scan import parse_shape
from rnnlab.bench.speedup import find_device
from rnnlab.bench.timing import compare_to_bound, prepare, time_interleaved
from rnnlab.cells import CELLS
from rnnlab.cells.linear import LinearCell
from rnnlab.scan import resolve_backend
from rnnlab.tables import Table, machine


@dataclass(frozen=True)
class Layer:
    """Times a minimal layer's training step: its output, and the gradients of parameters and input.

    The floor is the layer's three matmuls in one program: inputs by all kernels side by side, the
    cotangent by their transpose, and the inputs' transpose by the cotangent. Writes
    OUT/layer.jsonl and prints the table.

    Attributes:
      shapes: batch x time x width.
      repeats: timed rounds.
      device: cpu, gpu, tpu, or auto for the one that JAX prefers.
      out: folder for the results. Rows are added to those that are there.
    """

    shapes: tuple[str, ...] = ("8x2048x512", "64x256x256")
    repeats: int = 11
    device: str = "auto"
    out: Path = Path("runs/layer")

    def validate(self) -> None:
        """Raises ValueError at the first option that is out of range."""
        for shape in self.shapes:
            parse_shape(shape)
        if self.repeats < 1:
            raise ValueError(f"repeats is {self.repeats}; at least 1 is needed")


def run(
    config: Layer, advance: Callable[[str], None] = lambda text: None
) -> Iterator[records.Record]:
    """Measures and yields rows, each written to OUT/layer.jsonl before it is yielded."""
    config.validate()
    device = find_device(config.device)
    common = {"benchmark": "layer", **records.environment(device)}
    for shape in config.shapes:
        batch_size, length, width = parse_shape(shape)
        keys = jax.random.split(jax.random.key(0), 2)
        xs, dys = (jax.random.normal(k, (batch_size, length, width)) for k in keys)
        xs, dys = jax.device_put((xs, dys), device)
        for name in _minimal_cells():
            advance(f"{shape}, {name}")
            cell = CELLS[name](width, width, rngs=nnx.Rngs(0))
            layer, params = _training_step(cell)
            params = jax.device_put(params, device)
            kernels = [getattr(cell, f"{p}_kernel")[...] for p in cell.projections]
            kernel = jax.device_put(jnp.concatenate(kernels, -1), device)
            ready = prepare(layer, params, xs, dys), prepare(_matmuls, kernel, xs)
            seconds, floor = time_interleaved([r.call for r in ready], config.repeats)
            row = {
                **common,
                "cell": name,
                "backend": resolve_backend("auto", device.platform),
                "batch_size": batch_size,
                "length": length,
                "width": width,
                "dtype": "float32",
                "seed": 0,
                "repeats": config.repeats,
                **compare_to_bound(ready[0], seconds, floor),
            }
            records.append(config.out / "layer.jsonl", row)
            yield row


def steps(config: Layer) -> int:
    """How often `run` calls `advance`."""
    return len(config.shapes) * len(_minimal_cells())


def table(measured: list[records.Record]) -> Table:
    headings = (
        "batch × time × width",
        "cell",
        "training step, ms",
        "matmuls alone, ms",
        "× matmuls",
        "quartiles",
    )
    lines = [
        (
            f"{r['batch_size']} × {r['length']} × {r['width']}",
            r["cell"],
            f"{1e3 * r['seconds']:.1f}",
            f"{1e3 * r['floor_seconds']:.1f}",
            f"{r['ratio']:.2f}",
            f"{r['ratio_q1']:.2f} to {r['ratio_q3']:.2f}",
        )
        for r in measured
    ]
    title = f"minimal layers on {machine(measured[0])}; {measured[0]['dtype']}"
    return Table(title, headings, lines, frozenset())


def _minimal_cells() -> list[str]:
    return [name for name, cell in CELLS.items() if issubclass(cell, LinearCell)]


def _training_step(cell):
    graphdef, params = nnx.split(cell)

    def step(params, xs, dys):
        def outputs(params, xs):
            model = nnx.merge(graphdef, params, copy=True)
            return model(model.initial_carry(xs.shape[:1]), xs)[1]

        ys, pull = jax.vjp(outputs, params, xs)
        return ys, pull(dys)

    return step, params


def _matmuls(kernel, xs):
    rows_ = xs.reshape(-1, xs.shape[-1])
    # The barrier makes the first product stand for a cotangent that is not known before it.
    pre = lax.optimization_barrier(rows_ @ kernel)
    return pre, pre @ kernel.T, rows_.T @ pre
