"""How fast each cell trains on this machine, beside what a user would otherwise pick."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import jax

from rnnlab import records
from rnnlab.bench.speedup_table import OWN
from rnnlab.bench.speedup_table import table as table
from rnnlab.bench.timing import Prepared, quartiles, time_interleaved
from rnnlab.bench.torch_programs import available, torch_form, torch_program
from rnnlab.bench.variants import (
    FLAX_CELLS,
    PASSES,
    Problem,
    cell_class,
    cell_form,
    flax_form,
    form_program,
    loop_program,
    own_form,
)
from rnnlab.cells import CELLS
from rnnlab.registry import REGISTRY, compared_cells
from rnnlab.scan import BACKENDS, resolve_backend
from rnnlab.validation import require_one_of

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Speedup:
    """Times one layer of each cell, forward and in a training step, over several lengths.

    Beside rnnlab's cells run flax.nnx.RNN, a Python loop over a jitted step (the paper's own
    baseline), and, where torch is installed, its cells and the paper's log-space
    minimal cells. Writes OUT/speedup.jsonl and OUT/speedup.png, and prints the table.

    Attributes:
      cells: which cells; by default all, with --quick all but rnn. A cell of your own is
        FILE.py:CLASS, a class called as `CLASS(in_features, features, rngs=...)`.
      lengths: sequence lengths; by default 128 512 2048, with --quick 128 512.
      batch_size: sequences in a batch.
      width: features of the input and of the state.
      backend: backends of the minimal cells; by default auto associative, with --quick auto.
      dtype: dtype of the computation; parameters are float32.
      passes: forward, train (forward, backward and optimiser step); with --quick train alone.
      repeats: timed rounds; by default 5, with --quick 3.
      device: cpu, gpu, tpu, or auto for the one that JAX prefers.
      out: folder for the results. Rows are added to those that are there.
      loop_length: the longest sequence for the Python loop, which is slow and keeps every step.
      quick: the small version, in under 30 seconds on two cores.
    """

    cells: tuple[str, ...] | None = None
    lengths: tuple[int, ...] | None = None
    batch_size: int = 16
    width: int = 128
    backend: tuple[str, ...] | None = None
    dtype: str = "float32"
    passes: tuple[str, ...] | None = None
    repeats: int | None = None
    device: str = "auto"
    out: Path = Path("runs/speedup")
    loop_length: int = 512
    quick: bool = False

    def validate(self) -> None:
        """Raises ValueError at the first option that is out of range."""
        for cell in self.cells or ():
            cell_class(cell)
        for backend in self.backend or ():
            require_one_of("backend", backend, BACKENDS)
        for pass_ in self.passes or ():
            require_one_of("passes", pass_, PASSES)
        require_one_of("dtype", self.dtype, DTYPES)
        for name in ("cells", "lengths", "backend", "passes"):
            if getattr(self, name) == ():
                raise ValueError(f"{name} is empty; name at least one")
        for name in ("batch_size", "width", "repeats"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} is {value}; at least 1 is needed")
        for length in self.lengths or ():
            if length < 1:
                raise ValueError(f"lengths has {length}; at least 1 is needed")

    def resolved(self) -> "Speedup":
        """Itself with every default filled in."""
        defaults = {
            "cells": tuple(CELLS),
            "lengths": (128, 512, 2048),
            "backend": ("auto", "associative"),
            "passes": PASSES,
            "repeats": 5,
        }
        if self.quick:
            defaults = {
                "cells": compared_cells(),
                "lengths": (128, 512),
                "backend": ("auto",),
                "passes": ("train",),
                "repeats": 3,
            }
        unset = {k: v for k, v in defaults.items() if getattr(self, k) is None}
        return replace(self, **unset)


@dataclass(frozen=True)
class Entry:
    """One line of the table before it is measured."""

    cell: str
    implementation: str
    backend: str
    prepare: Callable[[str, Problem], Prepared]
    longest: int | None = None


def find_device(name: str) -> jax.Device:
    """The first device of a platform.

    Raises:
      ValueError: there is none.
    """
    if name == "auto":
        return jax.devices()[0]
    try:
        return jax.devices(name)[0]
    except RuntimeError:
        have = ", ".join(sorted({d.platform for d in jax.devices()}))
        raise ValueError(
            f"device is {name!r}, which JAX does not find here (it finds: {have}); "
            "use --device cpu, or install the accelerator's JAX, for example rnnlab[cuda]"
        ) from None


def entries(config: Speedup, platform: str) -> list[Entry]:
    """Every form of every cell, in the order of the table."""
    lines = []
    for cell in config.cells:
        if cell not in CELLS:
            lines.append(Entry(cell.rpartition(":")[2], OWN, "own", _formed(own_form, cell)))
            continue
        if cell in FLAX_CELLS:
            lines += [
                Entry(cell, "rnnlab", "scan", _formed(cell_form, cell, "auto")),
                Entry(cell, "flax.nnx.RNN", "scan", _formed(flax_form, cell)),
                Entry(cell, "Python loop", "step", _of(loop_program, cell), config.loop_length),
            ]
            torch_backend = "cuDNN" if platform == "gpu" else "native"
        else:
            ran = dict.fromkeys(resolve_backend(backend, platform) for backend in config.backend)
            lines += [Entry(cell, "rnnlab", b, _formed(cell_form, cell, b)) for b in ran]
            torch_backend = "log space"
        if REGISTRY[cell].torch is not None and available(platform):
            lines.append(Entry(cell, "torch", torch_backend, _of(_torch, cell)))
    return lines


def run(
    config: Speedup, advance: Callable[[str], None] = lambda text: None
) -> Iterator[records.Record]:
    """Measures and yields rows, each written to OUT/speedup.jsonl before it is yielded.

    All forms of one length and pass are compiled first and then timed in turns. `advance` is called
    before each step of the work with what it is; there are `steps(config)` of them.
    """
    config.validate()
    config = config.resolved()
    device = find_device(config.device)
    common = {"benchmark": "speedup", **records.environment(device)}
    for pass_ in config.passes:
        for length in config.lengths:
            problem = Problem(length, config.batch_size, config.width, config.dtype, device)
            group = [
                e
                for e in entries(config, device.platform)
                if e.longest is None or length <= e.longest
            ]
            ready = []
            for entry in group:
                advance(f"{pass_} {length}: compiling {entry.cell} ({entry.implementation})")
                ready.append(entry.prepare(pass_, problem))
            advance(f"{pass_} {length}: timing")
            seconds = time_interleaved([r.call for r in ready], config.repeats)
            for entry, prepared, times in zip(group, ready, seconds, strict=True):
                q1, median, q3 = quartiles(times)
                row = {
                    **common,
                    "cell": entry.cell,
                    "implementation": entry.implementation,
                    "backend": entry.backend,
                    "pass": pass_,
                    "length": length,
                    "batch_size": config.batch_size,
                    "width": config.width,
                    "dtype": config.dtype,
                    "seed": 0,
                    "repeats": config.repeats,
                    "compile_seconds": prepared.compile_seconds,
                    "step_seconds": median,
                    "step_seconds_q1": q1,
                    "step_seconds_q3": q3,
                    "tokens_per_second": config.batch_size * length / median,
                    "temp_bytes": prepared.temp_bytes,
                }
                records.append(config.out / "speedup.jsonl", row)
                yield row


def steps(config: Speedup) -> int:
    """How often `run` calls `advance`."""
    config = config.resolved()
    lines = entries(config, find_device(config.device).platform)
    each = [
        sum(e.longest is None or length <= e.longest for e in lines) + 1
        for length in config.lengths
    ]
    return len(config.passes) * sum(each)


def _of(program, *arguments):
    def prepare(pass_: str, problem: Problem) -> Prepared:
        return program(*arguments, pass_, problem)

    return prepare


def _formed(form, *arguments):
    def prepare(pass_: str, problem: Problem) -> Prepared:
        return form_program(form(*arguments, problem), pass_, problem)

    return prepare


def _torch(name: str, pass_: str, problem: Problem) -> Prepared:
    return torch_program(torch_form(name, problem), pass_)
