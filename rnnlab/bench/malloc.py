"""Training steps with glibc's default malloc settings and with settings that keep memory."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np

from rnnlab.bench.base import Benchmark, OnProgress, Workload
from rnnlab.bench.language_model import LanguageModelBenchmark, update_program
from rnnlab.bench.timing import TimedProgram, quartiles, time_interleaved
from rnnlab.bench.variants import cell_variant, variant_program
from rnnlab.malloc import keep_memory
from rnnlab.models.config import ModelConfig
from rnnlab.records import Record
from rnnlab.tables import Table, device_label, format_ms, format_range

DEFAULT, KEEP_MEMORY = "default", "--malloc-keep-memory"
TUNABLES = (
    "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=4294967296:"
    "glibc.malloc.top_pad=67108864:glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1"
)
SETTINGS = {DEFAULT: "", KEEP_MEMORY: "", "GLIBC_TUNABLES with huge pages": TUNABLES}
"""The compared settings, and the environment variable GLIBC_TUNABLES that each starts with."""
REPEATS = 9


def programs() -> dict[str, Callable[[], TimedProgram]]:
    """Training steps of single layers, batch 8, length 1,024, width 256, and of a whole model."""
    workload = Workload(1024, 8, 256, "float32", jax.devices("cpu")[0])

    def layer(name: str) -> TimedProgram:
        return variant_program(cell_variant(name, "auto", workload), "train", workload)

    layers = {
        f"{name} layer": partial(layer, name) for name in ("gru", "lstm", "mingru", "minlstm")
    }
    model = LanguageModelBenchmark()
    model_config = ModelConfig(width=model.width, depth=model.depth, expansion=model.expansion)
    return {**layers, "language model": partial(update_program, model, model_config)}


@dataclass(frozen=True)
class MallocBenchmark(Benchmark):
    """Times training steps in separate processes, with and without memory kept by malloc.

    The settings take turns, and each process times every program. A record has the time, the page
    faults per step and the most memory that the process held. Linux only. Writes OUT/rows.jsonl and
    prints the table.

    Attributes:
      rounds: processes per setting.
      out: output directory. Records are appended to those that are there.
    """

    rounds: int = 3
    out: Path = Path("runs/malloc")

    name = "malloc"
    device = "cpu"

    def validate(self) -> None:
        super().validate()
        if not sys.platform.startswith("linux"):
            raise ValueError(f"bench malloc must run on Linux with glibc, got {sys.platform}")

    def cases(self) -> Sequence[tuple[int, str]]:
        return [(k, setting) for k in range(self.rounds) for setting in SETTINGS]

    def measure(
        self, case: tuple[int, str], device: jax.Device, on_progress: OnProgress
    ) -> Iterator[Record]:
        k, setting = case
        on_progress(f"round {k + 1}, {setting}")
        environment = {**os.environ, "GLIBC_TUNABLES": SETTINGS[setting], "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, "-m", "rnnlab.bench.malloc", setting]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            yield {
                "glibc_tunables": SETTINGS[setting],
                "setting": setting,
                "round": k,
                "repeats": REPEATS,
                **json.loads(line),
            }

    @classmethod
    def conclusion(cls, measured: Sequence[Record]) -> str:
        ratios = []
        for program in dict.fromkeys(r["program"] for r in measured):
            times = {
                setting: [r["seconds"] for r in _select(measured, program, setting)]
                for setting in (DEFAULT, KEEP_MEMORY)
            }
            if all(times.values()):
                ratios.append(float(np.median(times[KEEP_MEMORY]) / np.median(times[DEFAULT])))
        if not ratios:
            return "No program was timed with both settings."
        return f"With memory kept, a training step takes {format_range(ratios)} of the time."

    @classmethod
    def table(cls, measured: Sequence[Record]) -> Table:
        """One table row per program and setting: medians over the processes."""
        headings = (
            "program",
            "setting",
            "step, ms",
            "range over processes, ms",
            "relative to default",
            "page faults per step",
        )
        lines, ends = [], set()
        settings = dict.fromkeys(r["setting"] for r in measured)
        for program in dict.fromkeys(r["program"] for r in measured):
            for setting in settings:
                chosen = _select(measured, program, setting)
                base = _select(measured, program, DEFAULT)
                seconds = [r["seconds"] for r in chosen]
                ratios = [r["seconds"] / b["seconds"] for r, b in zip(chosen, base, strict=False)]
                lines.append(
                    (
                        program,
                        setting,
                        format_ms(float(np.median(seconds))),
                        f"{format_ms(min(seconds))} to {format_ms(max(seconds))}",
                        f"{np.median(ratios):.2f}",
                        f"{np.median([r['page_faults'] for r in chosen]):,.0f}",
                    )
                )
            ends.add(len(lines) - 1)
        title = f"training steps on {device_label(measured[0])}; float32"
        return Table(title, headings, lines, frozenset(ends))


def _select(measured: Sequence[Record], program: str, setting: str) -> list[Record]:
    return [r for r in measured if (r["program"], r["setting"]) == (program, setting)]


def _measure(setting: str) -> None:
    """Times every program in this process and prints one JSON object per program."""
    if setting == KEEP_MEMORY:
        keep_memory()
    for name, make_program in programs().items():
        program = make_program()
        time_interleaved([program], 2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        (seconds,) = time_interleaved([program], REPEATS)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        record = {
            "program": name,
            "seconds": quartiles(seconds)[1],
            "page_faults": (usage.ru_minflt - before) / (REPEATS + 1),
            "peak_bytes": 1024 * usage.ru_maxrss,
        }
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    _measure(sys.argv[1])
