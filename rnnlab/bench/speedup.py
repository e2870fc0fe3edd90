"""Training speed of each cell on this machine, and of the alternatives a user could choose."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import jax

from rnnlab.bench import speedup_table
from rnnlab.bench.base import Benchmark, OnProgress, Workload, find_device
from rnnlab.bench.speedup_table import USER
from rnnlab.bench.timing import TimedProgram, compile_keys, time_interleaved, time_keys
from rnnlab.bench.torch_programs import LOG_SPACE, available, torch_program, torch_variant
from rnnlab.bench.variants import (
    PASSES,
    cell_variant,
    flax_variant,
    python_loop,
    require_cell,
    running_backends,
    user_variant,
    variant_program,
)
from rnnlab.cells.linear import LinearCell
from rnnlab.cells.nonlinear import NonlinearCell
from rnnlab.records import Record
from rnnlab.registry import cell_entries, compared_cells, find_cell
from rnnlab.scan import BACKENDS
from rnnlab.tables import Table

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class SpeedupBenchmark(Benchmark):
    """Times one layer of each cell, forward and in a training step, at several lengths.

    rnnlab's cells are compared with flax.nnx.RNN, with a Python loop over a jitted step (the
    paper's own baseline) and, if torch is installed, with its cells and the paper's log-space
    minimal cells. Writes OUT/rows.jsonl and OUT/figure.png, and prints the table.

    Attributes:
      cells: names of cells; by default all, with --quick all except rnn. A cell of your own is
        FILE.py:CLASS, a class called as `CLASS(in_features, features, rngs=...)`.
      lengths: sequence lengths; by default 128 512 2048, with --quick 128 512.
      batch_size: sequences in a batch.
      width: features of the input and of the state.
      backend: backends of the minimal cells; by default auto associative, with --quick auto.
      dtype: dtype of the computation; parameters are float32.
      passes: forward, train (forward, backward and optimizer step); with --quick only train.
      repeats: timed rounds; by default 5, with --quick 3.
      device: cpu, gpu, tpu, or auto for the one that JAX prefers.
      out: output directory. Records are appended to those that are there.
      python_loop_max_length: longest sequence for the Python loop, which is slow and keeps every
        time step in memory.
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
    python_loop_max_length: int = 512
    quick: bool = False

    name = "speedup"
    choices: ClassVar = {"backend": BACKENDS, "dtype": DTYPES, "passes": PASSES}

    def validate(self) -> None:
        super().validate()
        for cell in self.cells or ():
            require_cell(cell)

    def resolved(self) -> "SpeedupBenchmark":
        defaults = {
            "cells": tuple(cell_entries()),
            "lengths": (128, 512, 2048),
            "backend": ("auto", "associative"),
            "passes": PASSES[::-1],
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

    def cases(self) -> Sequence[tuple[str, int]]:
        return [(pass_, length) for pass_ in self.passes for length in self.lengths]

    def steps_of(self, case: tuple[str, int]) -> int:
        return len(self._variants(case[1], find_device(self.device).platform)) + 1

    def measure(
        self, case: tuple[str, int], device: jax.Device, on_progress: OnProgress
    ) -> Iterator[Record]:
        """Compiles all variants of one length and pass, then times them in the same rounds."""
        pass_, length = case
        workload = Workload(length, self.batch_size, self.width, self.dtype, device)
        variants = self._variants(length, device.platform)
        programs = []
        for v in variants:
            on_progress(f"{pass_} {length}: compiling {v.cell} ({v.implementation})")
            programs.append(v.compile(pass_, workload))
        on_progress(f"{pass_} {length}: timing")
        seconds = time_interleaved(programs, self.repeats)
        for v, program, times in zip(variants, programs, seconds, strict=True):
            step = time_keys(times, "step_seconds")
            yield {
                "cell": v.cell,
                "implementation": v.implementation,
                "backend": v.backend,
                "pass": pass_,
                **workload.sizes,
                "repeats": self.repeats,
                **step,
                "tokens_per_second": self.batch_size * length / step["step_seconds"],
                **compile_keys(program),
            }

    def _variants(self, length: int, platform: str) -> list["SpeedupCase"]:
        """The variants of all cells that are timed at a length, in the order of the table."""
        found = [
            variant
            for cell in self.cells
            for variant in variants_of(cell, self.backend, platform, self.width)
        ]
        short = length <= self.python_loop_max_length
        return [v for v in found if short or v.implementation != "Python loop"]

    @classmethod
    def conclusion(cls, measured: Sequence[Record]) -> str:
        return speedup_table.conclusion(measured)

    @classmethod
    def table(cls, measured: Sequence[Record]) -> Table:
        table = speedup_table.table(measured)
        # The only pass is also in the sentences below the table.
        only = ("pass",) if len({r["pass"] for r in measured}) == 1 else ()
        return table._replace(optional=(*table.optional, *only))

    @classmethod
    def belongs_with(cls, record: Record, measured: Sequence[Record]) -> bool:
        if not super().belongs_with(record, measured):
            return False
        same = all(record[key] == measured[0][key] for key in ("batch_size", "width"))
        return same and record["pass"] in {r["pass"] for r in measured}

    @classmethod
    def figure(cls, measured: Sequence[Record]):
        from rnnlab.bench.plots import speedup_figure

        return speedup_figure(measured)


@dataclass(frozen=True)
class SpeedupCase:
    """A variant of a cell before it is measured: `compile(pass, workload)` makes its program."""

    cell: str
    implementation: str
    backend: str
    compile: Callable[[str, Workload], TimedProgram]


def variants_of(cell: str, backends: Sequence[str], platform: str, width: int) -> list[SpeedupCase]:
    """The variants of a cell that can run on a platform, rnnlab's own first.

    Args:
      cell: name in the registry, or `FILE.py:CLASS`.
      backends: backends of the scan; a linear cell has a variant for each.
      platform: cpu, gpu or tpu.
      width: features of the cell.
    """
    entry = find_cell(cell)
    if entry.is_user_defined:
        return [SpeedupCase(entry.label, USER, "default", _compiled(user_variant, cell))]
    found = []
    if issubclass(entry.load(), LinearCell):
        for ran, backend in running_backends(cell, backends, platform, width).items():
            layer = _compiled(cell_variant, cell, backend)
            found.append(SpeedupCase(cell, "rnnlab", ran, layer))
    else:
        found.append(SpeedupCase(cell, "rnnlab", "scan", _compiled(cell_variant, cell, "auto")))
    if entry.flax is not None:
        layer = _compiled(flax_variant, cell)
        found.append(SpeedupCase(cell, "flax.nnx.RNN", "scan", layer))
    if issubclass(entry.load(), NonlinearCell):

        def loop(pass_: str, workload: Workload) -> TimedProgram:
            return python_loop(cell, pass_, workload)

        found.append(SpeedupCase(cell, "Python loop", "step", loop))
    if available(cell, platform):

        def torch(pass_: str, workload: Workload) -> TimedProgram:
            return torch_program(torch_variant(cell, workload), pass_)

        native = "cuDNN" if platform == "gpu" else "native"
        backend = LOG_SPACE if entry.torch == LOG_SPACE else native
        found.append(SpeedupCase(cell, "torch", backend, torch))
    return found


def _compiled(variant, *arguments):
    def compile(pass_: str, workload: Workload) -> TimedProgram:
        return variant_program(variant(*arguments, workload), pass_, workload)

    return compile
