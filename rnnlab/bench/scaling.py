"""How the cost of a layer grows with length, batch and width, one of them at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from rnnlab import records
from rnnlab.bench.scan import parse_shape
from rnnlab.bench.speedup import find_device
from rnnlab.bench.timing import Prepared, quartiles, time_interleaved
from rnnlab.bench.variants import Problem, form_program, module_form
from rnnlab.cells import CELLS
from rnnlab.layers import Attention, Block
from rnnlab.layers.mamba import Mamba
from rnnlab.tables import Table, machine, milliseconds
from rnnlab.validation import require_one_of

AXES = {"length": "length", "batch": "batch_size", "width": "width"}
"""The axes by their names on the command line and in a row."""
HEAD = 64
"""Width of an attention head."""


def _transformer(problem: Problem) -> nnx.Module:
    attention = partial(Attention, heads=max(problem.width // HEAD, 1), window=problem.length)
    return Block(problem.width, attention, mlp_expansion=4, rngs=nnx.Rngs(0))


def _mamba(problem: Problem) -> nnx.Module:
    return Block(problem.width, Mamba, expansion=2, rngs=nnx.Rngs(0))


def _cell(name: str, problem: Problem) -> nnx.Module:
    return CELLS[name](problem.width, problem.width, rngs=nnx.Rngs(0))


LAYERS: dict[str, Callable[[Problem], nnx.Module]] = {
    **{name: partial(_cell, name) for name in CELLS},
    "transformer": _transformer,
    "mamba": _mamba,
}
"""What is measured: each cell alone; a decoder layer with its MLP; a Mamba block, expansion 2."""


@dataclass(frozen=True)
class Growth:
    """Measures the training step of one layer of each kind while length, batch or width grows.

    Each row has the time of a step, of compiling it, the size of its temporary buffers and of the
    state that one stream carries. What would need more temporaries than the cap is compiled and not
    run; where a step took longer than the limit, the axis is not followed further. Writes
    OUT/growth.jsonl and OUT/growth.png, and prints the exponents that were fitted.

    Attributes:
      start: batch x time x width, the shape that every axis goes through.
      layers: which layers; a cell's name, transformer or mamba.
      axes: which axes: length, batch, width.
      lengths, batches, widths: the points of each axis.
      repeats: timed rounds.
      memory_cap: gigabytes of temporaries that a program may need to be run.
      time_limit: seconds of a step after which an axis is not followed further.
      device: cpu, gpu, tpu, or auto for the one that JAX prefers.
      out: folder for the results. Rows are added to those that are there.
    """

    start: str = "8x1024x256"
    layers: tuple[str, ...] = tuple(LAYERS)
    axes: tuple[str, ...] = tuple(AXES)
    lengths: tuple[int, ...] = (256, 1024, 4096, 16384, 65536)
    batches: tuple[int, ...] = (1, 8, 32, 128, 256)
    widths: tuple[int, ...] = (64, 256, 512, 1024, 2048)
    repeats: int = 3
    memory_cap: float = 6.0
    time_limit: float = 6.0
    device: str = "auto"
    out: Path = Path("runs/growth")

    def validate(self) -> None:
        """Raises ValueError at the first option that is out of range."""
        parse_shape(self.start)
        for layer in self.layers:
            require_one_of("layers", layer, LAYERS)
        for axis in self.axes:
            require_one_of("axes", axis, AXES)
        for name in ("lengths", "batches", "widths"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; numbers of at least 1 are needed"
                )
        if self.repeats < 1:
            raise ValueError(f"repeats is {self.repeats}; at least 1 is needed")

    def points(self, axis: str) -> tuple[int, ...]:
        return {"length": self.lengths, "batch": self.batches, "width": self.widths}[axis]


def run(
    config: Growth, advance: Callable[[str], None] = lambda text: None
) -> Iterator[records.Record]:
    """Measures and yields rows, each written to OUT/growth.jsonl before it is yielded."""
    config.validate()
    device = find_device(config.device)
    common = {"benchmark": "growth", **records.environment(device)}
    batch_size, length, width = parse_shape(config.start)
    start = Problem(length, batch_size, width, "float32", device)
    for axis in config.axes:
        followed = list(config.layers)
        for point in sorted(config.points(axis)):
            problem = replace(start, **{AXES[axis]: point})
            ready: dict[str, Prepared] = {}
            state_bytes = {}
            for name in followed:
                advance(f"{axis} {point}: compiling {name}")
                module = LAYERS[name](problem)
                state_bytes[name] = _state_bytes(module)
                ready[name] = form_program(module_form(module), "train", problem)
            small = [n for n in followed if _fits(ready[n], config.memory_cap)]
            advance(f"{axis} {point}: timing")
            seconds = time_interleaved([ready[n].call for n in small], config.repeats)
            by_name = dict(zip(small, seconds, strict=True))
            for name in followed:
                q1, median, q3 = quartiles(by_name[name]) if name in by_name else (None,) * 3
                row = {
                    **common,
                    "layer": name,
                    "axis": axis,
                    "batch_size": problem.batch_size,
                    "length": problem.length,
                    "width": problem.width,
                    "dtype": problem.dtype,
                    "seed": 0,
                    "repeats": config.repeats,
                    "compile_seconds": ready[name].compile_seconds,
                    "temp_bytes": ready[name].temp_bytes,
                    "state_bytes": state_bytes[name],
                    "step_seconds": median,
                    "step_seconds_q1": q1,
                    "step_seconds_q3": q3,
                    "tokens_per_second": median and problem.batch_size * problem.length / median,
                }
                records.append(config.out / "growth.jsonl", row)
                yield row
            followed = [
                n for n in followed if n in by_name and np.median(by_name[n]) <= config.time_limit
            ]


def steps(config: Growth) -> int:
    """How often `run` calls `advance`, if no axis ends early."""
    return sum(len(config.points(axis)) for axis in config.axes) * (len(config.layers) + 1)


def exponent(measured: list[records.Record], value: str) -> float | None:
    """The slope of log `value` over log size along one axis, through its upper points.

    The upper points are the largest three that were measured: below them fixed costs still count.

    >>> lengths = ((256, 9.0), (1024, 2.0), (4096, 8.0), (16384, 32.0))
    >>> round(exponent([{"axis": "length", "length": n, "x": x} for n, x in lengths], "x"), 3)
    1.0
    """
    key = AXES[measured[0]["axis"]]
    points = sorted((r[key], r[value]) for r in measured if r[value])[-3:]
    if len(points) < 2:
        return None
    sizes, values = np.log(np.array(points)).T
    return float(np.polyfit(sizes, values, 1)[0])


def table(measured: list[records.Record]) -> Table:
    headings = (
        "axis",
        "layer",
        "from",
        "to",
        "step, ms",
        "step ~ size^",
        "temporaries, MB",
        "temporaries ~ size^",
        "compile, s",
        "state, bytes",
        "tokens/s",
    )
    lines, breaks = [], set()
    ordered = sorted(measured, key=lambda r: (list(AXES).index(r["axis"]), _order(r["layer"])))
    for (axis, layer), group in groupby(ordered, key=lambda r: (r["axis"], r["layer"])):
        group = sorted(group, key=lambda r: r[AXES[axis]])
        timed = [r for r in group if r["step_seconds"] is not None]
        ends = (timed[0], timed[-1]) if timed else ()
        if lines and lines[-1][0] != axis:
            breaks.add(len(lines) - 1)
        lines.append(
            (
                axis,
                layer,
                *(f"{r[AXES[axis]]:,}" for r in ends),
                *([""] * (2 - len(ends))),
                " to ".join(milliseconds(r["step_seconds"]) for r in ends),
                _rounded(exponent(group, "step_seconds")),
                " to ".join(f"{r['temp_bytes'] / 1e6:,.0f}" for r in ends),
                _rounded(exponent(group, "temp_bytes")),
                " to ".join(f"{r['compile_seconds']:.1f}" for r in ends),
                " to ".join(f"{r['state_bytes']:,}" for r in ends),
                " to ".join(f"{r['tokens_per_second']:,.0f}" for r in ends),
            )
        )
    title = f"one layer's training step on {machine(measured[0])}; {measured[0]['dtype']}"
    return Table(title, headings, lines, frozenset(breaks))


def _order(layer: str) -> int:
    return list(LAYERS).index(layer)


def _rounded(x: float | None) -> str:
    return "" if x is None else f"{x:.2f}"


def _fits(prepared: Prepared, gigabytes: float) -> bool:
    return prepared.temp_bytes is None or prepared.temp_bytes <= gigabytes * 1e9


def _state_bytes(module: Any) -> int:
    """Bytes that one stream carries from step to step."""
    carry = jax.eval_shape(lambda: module.initial_carry((1,)))
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(carry))
