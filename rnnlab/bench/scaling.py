"""Scaling of a layer's cost with length, batch size and width, one of them at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
from flax import nnx

from rnnlab.bench.base import Benchmark, OnProgress, Workload, parse_shape
from rnnlab.bench.timing import (
    TimedProgram,
    compile_keys,
    time_interleaved,
    time_keys,
)
from rnnlab.bench.variants import module_variant, variant_program
from rnnlab.cells.mamba import Mamba
from rnnlab.layers import Attention, Block
from rnnlab.records import Record
from rnnlab.registry import cell_entries, find_cell
from rnnlab.tables import Table, device_label, format_ms

AXES = {"length": "length", "batch": "batch_size", "width": "width"}
"""The axes by their names on the command line and in a record."""
HEAD_WIDTH = 64
"""Width of an attention head."""


def _transformer(workload: Workload) -> nnx.Module:
    heads = max(workload.width // HEAD_WIDTH, 1)
    attention = partial(Attention, heads=heads, window=workload.length)
    return Block(workload.width, attention, mlp_expansion=4, rngs=nnx.Rngs(0))


def _mamba(workload: Workload) -> nnx.Module:
    return Block(workload.width, Mamba, expansion=2, rngs=nnx.Rngs(0))


def _cell(name: str, workload: Workload) -> nnx.Module:
    return find_cell(name).load()(workload.width, workload.width, rngs=nnx.Rngs(0))


LAYERS: dict[str, Callable[[Workload], nnx.Module]] = {
    **{name: partial(_cell, name) for name in cell_entries()},
    "transformer": _transformer,
    "mamba": _mamba,
}
"""Each bare cell; a decoder layer with its MLP; a Mamba block of expansion 2."""


@dataclass(frozen=True)
class ScalingBenchmark(Benchmark):
    """Measures the training step of one layer of each kind while length, batch or width grows.

    A record has the time of a step, its compile time, the size of its temporary buffers and the
    size of the state per sequence. A program that needs more temporary memory than the cap is
    compiled and not run. After a step that exceeds the time limit, larger sizes are skipped. Writes
    OUT/rows.jsonl and OUT/figure.png, and prints the fitted exponents.

    Attributes:
      start: batch x time x width, the shape that every axis passes through.
      layers: a cell's name, transformer or mamba, or FILE.py:CLASS.
      axes: length, batch, width.
      lengths, batches, widths: the points of each axis.
      repeats: timed rounds.
      memory_cap: gigabytes of temporary memory up to which a program is run.
      time_limit: seconds per step after which larger sizes are skipped.
      device: cpu, gpu, tpu, or auto for the one that JAX prefers.
      out: output directory. Records are appended to those that are there.
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
    out: Path = Path("runs/scaling")

    name = "scaling"
    choices: ClassVar = {"axes": AXES}

    def validate(self) -> None:
        super().validate()
        parse_shape(self.start)
        for layer in self.layers:
            if layer not in LAYERS:
                find_cell(layer)

    def cases(self) -> Sequence[str]:
        return self.axes

    def steps_of(self, case: str) -> int:
        return len(self.points(case)) * (len(self.layers) + 1)

    def points(self, axis: str) -> tuple[int, ...]:
        """The sizes along an axis."""
        return {"length": self.lengths, "batch": self.batches, "width": self.widths}[axis]

    def measure(self, case: str, device: jax.Device, on_progress: OnProgress) -> Iterator[Record]:
        start = Workload.of_shape(self.start, device)
        names = list(self.layers)
        for point in sorted(self.points(case)):
            workload = replace(start, **{AXES[case]: point})
            programs: dict[str, TimedProgram] = {}
            state_bytes = {}
            for name in names:
                on_progress(f"{case} {point}: compiling {name}")
                module = LAYERS.get(name, partial(_cell, name))(workload)
                state_bytes[name] = _state_bytes(module)
                programs[name] = variant_program(module_variant(module), "train", workload)
            small = [n for n in names if _fits(programs[n], self.memory_cap)]
            on_progress(f"{case} {point}: timing")
            times = time_interleaved([programs[n] for n in small], self.repeats)
            seconds = dict(zip(small, times, strict=True))
            for name in names:
                step = time_keys(seconds.get(name), "step_seconds")
                median = step["step_seconds"]
                yield {
                    "layer": name if name in LAYERS else find_cell(name).label,
                    "axis": case,
                    **workload.sizes,
                    "repeats": self.repeats,
                    **compile_keys(programs[name]),
                    "state_bytes": state_bytes[name],
                    **step,
                    "tokens_per_second": median and workload.batch_size * workload.length / median,
                }
            names = [n for n in names if n in seconds and np.median(seconds[n]) <= self.time_limit]

    @classmethod
    def table(cls, measured: Sequence[Record]) -> Table:
        """One table row per axis and layer: values at both ends, and the fitted exponents."""
        headings = (
            "axis",
            "layer",
            "from",
            "to",
            "step, ms",
            "step ~ size^",
            "XLA temp memory, MB",
            "memory ~ size^",
            "compile, s",
            "state, bytes",
            "tokens/s",
        )
        lines, section_ends = [], set()
        ordered = sorted(measured, key=lambda r: (list(AXES).index(r["axis"]), _order(r["layer"])))
        for (axis, layer), group in groupby(ordered, key=lambda r: (r["axis"], r["layer"])):
            group = sorted(group, key=lambda r: r[AXES[axis]])
            timed = [r for r in group if r["step_seconds"] is not None]
            ends = (timed[0], timed[-1]) if timed else ()
            if lines and lines[-1][0] != axis:
                section_ends.add(len(lines) - 1)
            lines.append(
                (
                    axis,
                    layer,
                    *(f"{r[AXES[axis]]:,}" for r in ends),
                    *([""] * (2 - len(ends))),
                    " to ".join(format_ms(r["step_seconds"]) for r in ends),
                    _rounded(exponent(group, "step_seconds")),
                    " to ".join(f"{r['temp_bytes'] / 1e6:,.0f}" for r in ends),
                    _rounded(exponent(group, "temp_bytes")),
                    " to ".join(f"{r['compile_seconds']:.1f}" for r in ends),
                    " to ".join(f"{r['state_bytes']:,}" for r in ends),
                    " to ".join(f"{r['tokens_per_second']:,.0f}" for r in ends),
                )
            )
        title = f"one layer's training step on {device_label(measured[0])}; {measured[0]['dtype']}"
        return Table(title, headings, lines, frozenset(section_ends))

    @classmethod
    def conclusion(cls, measured: Sequence[Record]) -> str:
        sentences = []
        for axis in dict.fromkeys(r["axis"] for r in measured):
            powers = {}
            for layer in dict.fromkeys(r["layer"] for r in measured):
                group = [r for r in measured if (r["axis"], r["layer"]) == (axis, layer)]
                power = exponent(group, "step_seconds") if group else None
                if power is not None:
                    powers[layer] = power
            if powers:
                found = ", ".join(f"{layer} {power:.2f}" for layer, power in powers.items())
                sentences.append(f"The time of a step grows as {axis} to the power: {found}.")
        return " ".join(sentences) or "Powers need at least two sizes of an axis."

    @classmethod
    def figure(cls, measured: Sequence[Record]):
        from rnnlab.bench.plots import scaling_figure

        return scaling_figure(measured)


def exponent(measured: Sequence[Record], value: str) -> float | None:
    """The slope of log `value` over log size along one axis, fitted to the largest three sizes.

    Smaller sizes are omitted because fixed costs dominate there. None if fewer than two sizes were
    measured.

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


def _order(layer: str) -> int:
    return list(LAYERS).index(layer) if layer in LAYERS else len(LAYERS)


def _rounded(x: float | None) -> str:
    return "" if x is None else f"{x:.2f}"


def _fits(program: TimedProgram, gigabytes: float) -> bool:
    return program.temp_bytes is None or program.temp_bytes <= gigabytes * 1e9


def _state_bytes(module: Any) -> int:
    """Bytes that one sequence carries from time step to time step."""
    carry = jax.eval_shape(lambda: module.initial_carry((1,)))
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(carry))
