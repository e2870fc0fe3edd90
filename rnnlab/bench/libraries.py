"""Each cell and other libraries' implementations of it: same parameters, checked, then timed."""

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import jax
import numpy as np

from rnnlab.bench.base import (
    SHAPE,
    TEMP_MEMORY,
    Benchmark,
    Column,
    OnProgress,
    Workload,
    find_device,
    key_column,
    time_quartiles,
)
from rnnlab.bench.speedup_table import USER
from rnnlab.bench.timing import (
    TimedProgram,
    compile_keys,
    quartiles,
    time_interleaved,
    time_keys,
)
from rnnlab.bench.torch_programs import (
    LOG_SPACE,
    TorchVariant,
    available,
    torch_program,
    torch_variant,
)
from rnnlab.bench.variants import (
    PASSES,
    LayerVariant,
    cell_variant,
    flax_variant,
    naive_variant,
    require_cell,
    running_backends,
    user_variant,
    variant_program,
)
from rnnlab.cells.linear import LinearCell
from rnnlab.cells.minimal import MinimalCell
from rnnlab.plotting import cell_label
from rnnlab.records import Record
from rnnlab.registry import compared_cells, find_cell, minimal_counterparts
from rnnlab.tables import device_label, format_ms, format_range, format_ratio

MINIMAL = tuple(minimal_counterparts().values())
"""The cells that times are reported relative to."""
# Relative to the largest output. The log-space form has an error of about 5e-4 at 4,096 time steps;
# matmuls on a GPU, and torch's there too, keep ten bits of the inputs (TF32).
PARITY_TOLERANCE = {"cpu": 2e-3, "gpu": 2e-2, "tpu": 2e-2}


@dataclass(frozen=True)
class LibrariesBenchmark(Benchmark):
    """Times every cell and its implementations in Flax, torch, log space and naive JAX.

    On a GPU also the LSTM on cuDNN through JAX and, if it is installed, accelerated-scan. All
    implementations of a cell have its parameters. Their outputs are compared before any is timed;
    an implementation whose outputs differ is listed and not timed. Writes OUT/rows.jsonl and prints
    the table.

    Attributes:
      shapes: batch x time x width.
      cells: names of cells, or FILE.py:CLASS.
      passes: forward, train (forward, backward and optimizer step).
      repeats: timed rounds.
      device: cpu, gpu, tpu, or auto for the one that JAX prefers.
      out: output directory. Records are appended to those that are there.
    """

    shapes: tuple[str, ...] = ("8x1024x256", "64x256x256")
    cells: tuple[str, ...] = compared_cells()
    passes: tuple[str, ...] = ("train",)
    repeats: int = 9
    device: str = "auto"
    out: Path = Path("runs/libraries")

    name = "libraries"
    choices: ClassVar = {"passes": PASSES}
    section_keys = ("batch_size", "length", "width", "pass")
    columns = (
        SHAPE,
        *map(key_column, ("pass", "cell", "implementation", "backend")),
        Column("time, ms", lambda r: format_ms(r["seconds"]) if r["seconds"] else "not timed"),
        Column("quartiles, ms", lambda r: time_quartiles(r) if r["seconds"] else ""),
        TEMP_MEMORY,
        *(
            Column(f"relative to {cell_label(m)}", lambda r, key=f"over_{m}": _ratio(r[key]))
            for m in MINIMAL
        ),
        Column("max output difference", lambda r: f"{r['difference']:.0e}"),
    )

    def validate(self) -> None:
        super().validate()
        for cell in self.cells:
            require_cell(cell)

    def cases(self) -> Sequence[str]:
        return self.shapes

    def steps_of(self, case: str) -> int:
        workload = Workload.of_shape(case, find_device(self.device))
        return len(self.passes) * (len(self._cases(workload)) + 1)

    def measure(self, case: str, device: jax.Device, on_progress: OnProgress) -> Iterator[Record]:
        """Times all implementations of all cells at one shape and pass in the same rounds."""
        workload = Workload.of_shape(case, device)
        chosen = self._cases(workload)
        variants = [c.variant(workload) for c in chosen]
        differences = _differences(chosen, variants, workload)
        for pass_ in self.passes:
            programs: dict[int, TimedProgram] = {}
            for k, (c, variant) in enumerate(zip(chosen, variants, strict=True)):
                on_progress(f"{case}, {pass_}: compiling {c.cell} ({c.implementation})")
                if differences[k] <= PARITY_TOLERANCE[device.platform]:
                    programs[k] = _program(variant, pass_, workload)
            on_progress(f"{case}, {pass_}: timing")
            times = time_interleaved(list(programs.values()), self.repeats)
            seconds = dict(zip(programs, times, strict=True))
            # The first implementation of a cell is rnnlab's on its default backend.
            own = {chosen[k].cell: seconds[k] for k in reversed(seconds)}
            for k, c in enumerate(chosen):
                yield {
                    "cell": c.cell,
                    "implementation": c.implementation,
                    "backend": c.backend,
                    "pass": pass_,
                    **workload.sizes,
                    "repeats": self.repeats,
                    "difference": differences[k],
                    **compile_keys(programs.get(k)),
                    **time_keys(seconds.get(k)),
                    **_ratios_to_minimal(seconds.get(k), own),
                }

    def _cases(self, workload: Workload) -> list["LibraryCase"]:
        platform, width = workload.device.platform, workload.width
        return [c for cell in self.cells for c in library_cases(cell, platform, width)]

    @classmethod
    def conclusion(cls, measured: Sequence[Record]) -> str:
        sentences = []
        for classic, minimal in minimal_counterparts().items():
            fastest: dict[tuple, Record] = {}
            for r in measured:
                key = tuple(r[name] for name in cls.section_keys)
                ratio = r[f"over_{minimal}"]
                if r["cell"] == classic and ratio is not None:
                    fastest[key] = min(r, fastest.get(key, r), key=lambda r: r["seconds"])
            if fastest:
                ratios = format_range(r[f"over_{minimal}"] for r in fastest.values())
                names = " or ".join(dict.fromkeys(r["implementation"] for r in fastest.values()))
                sentences.append(
                    f"The fastest {cell_label(classic)} ({names}) takes {ratios} times as long as "
                    f"rnnlab's {cell_label(minimal)}."
                )
        return " ".join(sentences)

    @classmethod
    def title(cls, measured: Sequence[Record]) -> str:
        first = measured[0]
        torch = first["versions"].get("torch")
        title = f"cells in several libraries on {device_label(first)}; {first['dtype']}"
        return title + (f"; torch {torch}" if torch else "")


@dataclass(frozen=True)
class LibraryCase:
    """One implementation of a cell before it is measured."""

    cell: str
    implementation: str
    backend: str
    variant: Callable[[Workload], LayerVariant | TorchVariant]


def library_cases(cell: str, platform: str, width: int) -> list[LibraryCase]:
    """The implementations of a cell that can run on a platform, rnnlab's own first."""
    entry = find_cell(cell)
    if entry.is_user_defined:
        return [LibraryCase(entry.label, USER, "default", _bind(user_variant, cell))]
    linear, minimal = (issubclass(entry.load(), base) for base in (LinearCell, MinimalCell))
    own = {"scan": "auto"}
    if linear:
        backends = ("auto",) if platform == "cpu" else ("auto", "associative", "pallas")
        own = running_backends(cell, backends, platform, width)
    found = [
        LibraryCase(cell, "rnnlab", ran, _bind(cell_variant, cell, b)) for ran, b in own.items()
    ]
    if minimal:
        naive = _bind(naive_variant, cell)
        found.append(LibraryCase(cell, "naive JAX", "associative_scan", naive))
    if entry.flax is not None:
        found.append(LibraryCase(cell, "flax.nnx.RNN", "scan", _bind(flax_variant, cell)))
    if cell == "lstm" and platform == "gpu":
        found.append(LibraryCase(cell, "rnnlab", "cudnn", _bind(cell_variant, cell, "cudnn")))
    if available(cell, platform):
        native = "cuDNN" if platform == "gpu" else "native"
        backend = LOG_SPACE if entry.torch == LOG_SPACE else native
        found.append(LibraryCase(cell, "torch", backend, _bind(torch_variant, cell)))
        has_warp = importlib.util.find_spec("accelerated_scan") is not None
        if backend == LOG_SPACE and platform == "gpu" and has_warp:
            warp = importlib.import_module("accelerated_scan.warp")

            def accelerated(workload: Workload) -> TorchVariant:
                return torch_variant(cell, workload, warp.scan)

            found.append(LibraryCase(cell, "accelerated-scan", "warp", accelerated))
    return found


def _bind(variant, *arguments):
    return lambda workload: variant(*arguments, workload)


def _ratio(value: float | None) -> str:
    return "" if value is None else format_ratio(value)


def _differences(
    chosen: Sequence[LibraryCase],
    variants: Sequence[LayerVariant | TorchVariant],
    workload: Workload,
) -> list[float]:
    """The largest difference of each variant's outputs from rnnlab's, over the largest output."""
    references, differences = {}, []
    for case, variant in zip(chosen, variants, strict=True):
        if isinstance(variant, TorchVariant):
            outputs = variant.outputs()
        else:
            with jax.default_device(workload.device):
                outputs = np.asarray(jax.jit(variant.outputs)(variant.params, workload.inputs()))
        reference = references.setdefault(case.cell, outputs)
        differences.append(float(np.max(np.abs(outputs - reference)) / np.max(np.abs(reference))))
    return differences


def _program(variant: LayerVariant | TorchVariant, pass_: str, workload: Workload) -> TimedProgram:
    if isinstance(variant, TorchVariant):
        return torch_program(variant, pass_)
    return variant_program(variant, pass_, workload)


def _ratios_to_minimal(seconds: np.ndarray | None, own) -> dict[str, float | None]:
    """The median ratios to rnnlab's minimal cells in the same rounds."""
    return {
        f"over_{m}": quartiles(seconds / own[m])[1] if seconds is not None and m in own else None
        for m in MINIMAL
    }
