"""Classic cells in parallel over time: do they converge, in how many iterations, at what price."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from rnnlab import records
from rnnlab.analysis import lyapunov_exponents
from rnnlab.bench.scan import parse_shape
from rnnlab.bench.speedup import find_device
from rnnlab.bench.timing import compare_to_bound, prepare, time_interleaved
from rnnlab.cells import CELLS
from rnnlab.cells.nonlinear import NonlinearCell
from rnnlab.tables import Table, machine, milliseconds, times
from rnnlab.validation import require_one_of


@dataclass(frozen=True)
class Newton:
    """Runs classic cells as they are initialised by `backend="newton"` and by `backend="scan"`.

    Each row has the iterations and the residual, how far values and gradients are from those of
    the loop, the times of both, and the largest Lyapunov exponent of the states, whose sign says
    whether the iteration can contract. Writes OUT/newton.jsonl and prints the table.

    Attributes:
      shapes: batch x time x width.
      cells: which cells.
      gains: norms of the recurrent weights, which are orthogonal gate by gate.
      repeats: timed rounds.
      device: cpu, gpu, tpu, or auto for the one that JAX prefers.
      out: folder for the results. Rows are added to those that are there.
    """

    shapes: tuple[str, ...] = ("1x1024x128", "8x1024x128", "1x16384x128")
    cells: tuple[str, ...] = ("rnn", "gru", "lstm")
    gains: tuple[float, ...] = (1.0,)
    repeats: int = 3
    device: str = "auto"
    out: Path = Path("runs/newton")

    def validate(self) -> None:
        """Raises ValueError at the first option that is out of range."""
        for shape in self.shapes:
            parse_shape(shape)
        classic = [name for name, cell in CELLS.items() if issubclass(cell, NonlinearCell)]
        for cell in self.cells:
            require_one_of("cells", cell, classic)
        if self.repeats < 1:
            raise ValueError(f"repeats is {self.repeats}; at least 1 is needed")


def run(
    config: Newton, advance: Callable[[str], None] = lambda text: None
) -> Iterator[records.Record]:
    """Measures and yields rows, each written to OUT/newton.jsonl before it is yielded."""
    config.validate()
    device = find_device(config.device)
    for shape in config.shapes:
        batch_size, length, width = parse_shape(shape)
        xs = jax.random.normal(jax.random.key(0), (batch_size, length, width))
        xs = jax.device_put(xs, device)
        for name in config.cells:
            for gain in config.gains:
                advance(f"{shape}, {name}, norm {gain}")
                init = nnx.initializers.orthogonal(scale=gain)
                cell = CELLS[name](width, width, rngs=nnx.Rngs(0), recurrent_init=init)
                row = {
                    "benchmark": "newton",
                    **records.environment(device),
                    "cell": name,
                    "weights": f"as initialised, norm {gain:g}",
                    "seed": 0,
                    "repeats": config.repeats,
                    **measure(cell, xs, config.repeats),
                }
                records.append(config.out / "newton.jsonl", row)
                yield row


def steps(config: Newton) -> int:
    """How often `run` calls `advance`."""
    return len(config.shapes) * len(config.cells) * len(config.gains)


def measure(cell: NonlinearCell, xs: Array, repeats: int) -> dict[str, Any]:
    """The columns of a row: `cell` on inputs (batch, time, in_features), by both backends."""
    carry = cell.initial_carry(xs.shape[:1])
    dys = jax.random.normal(jax.random.key(1), (*xs.shape[:2], cell.features))
    ready, results = [], []
    for backend in ("newton", "scan"):
        copy = nnx.clone(cell)
        copy.backend = backend
        graphdef, params = nnx.split(copy)
        ready.append(prepare(_with_gradients(graphdef), params, carry, xs, dys))
        results.append(jax.jit(_with_gradients(graphdef))(params, carry, xs, dys))
    (ys, gradients), (wanted, wanted_gradients) = results
    report = cell.convergence(carry, xs)
    seconds, loop = time_interleaved([r.call for r in ready], repeats)
    return {
        "batch_size": xs.shape[0],
        "length": xs.shape[1],
        "width": cell.features,
        "dtype": "float32",
        "iterations": int(report.iterations),
        "residual": float(report.residual),
        "converged": bool(report.converged),
        "value_error": _error(ys, wanted),
        "gradient_error": _error(gradients, wanted_gradients),
        "lyapunov_exponent": float(lyapunov_exponents(cell, carry, xs).mean()),
        **compare_to_bound(ready[0], seconds, loop),
    }


def table(measured: list[records.Record]) -> Table:
    headings = (
        "cell",
        "weights",
        "batch × time × width",
        "Lyapunov exponent",
        "iterations",
        "residual",
        "converged",
        "values off by",
        "gradients off by",
        "time, ms",
        "loop, ms",
        "× loop",
    )
    lines = [
        (
            r["cell"],
            r["weights"],
            f"{r['batch_size']} × {r['length']} × {r['width']}",
            f"{r['lyapunov_exponent']:.3f}",
            str(r["iterations"]),
            f"{r['residual']:.0e}",
            "yes" if r["converged"] else "no: the loop ran",
            f"{r['value_error']:.0e}",
            f"{r['gradient_error']:.0e}",
            milliseconds(r["seconds"]),
            milliseconds(r["floor_seconds"]),
            times(r["ratio"]),
        )
        for r in measured
    ]
    title = f"forward and backward on {machine(measured[0])}; {measured[0]['dtype']}"
    return Table(title, headings, lines, frozenset())


def _with_gradients(graphdef: Any) -> Callable[..., tuple[Array, Any]]:
    def run(params, carry, xs, dys):
        def outputs(params, xs):
            return nnx.merge(graphdef, params, copy=True)(carry, xs)[1]

        ys, pull = jax.vjp(outputs, params, xs)
        return ys, pull(dys)

    return run


def _error(found: Any, wanted: Any) -> float:
    """The largest difference of any array, relative to its largest number."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    return max(float(jnp.max(jnp.abs(x - y)) / jnp.max(jnp.abs(y))) for x, y in pairs)
