"""What training steps cost as the C library's allocator is, and where it keeps its pages."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np

from rnnlab import records
from rnnlab.bench.language_model import LanguageModel, update_program
from rnnlab.bench.timing import Prepared, quartiles, time_interleaved
from rnnlab.bench.variants import Problem, cell_form, form_program
from rnnlab.malloc import keep_memory
from rnnlab.models.config import ModelConfig
from rnnlab.tables import Table, machine, milliseconds

KEEP = "--keep-pages"
TUNABLES = (
    "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=4294967296:"
    "glibc.malloc.top_pad=67108864:glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1"
)
SETTINGS = {"as it is": "", KEEP: "", "GLIBC_TUNABLES with huge pages": TUNABLES}
"""The compared settings, and the variable of the environment that each starts with."""
REPEATS = 9


def programs() -> dict[str, Callable[[], Prepared]]:
    """Training steps of single layers, batch 8, length 1,024, width 256, and of a whole model."""
    problem = Problem(1024, 8, 256, "float32", jax.devices("cpu")[0])

    def layer(name: str) -> Prepared:
        return form_program(cell_form(name, "auto", problem), "train", problem)

    layers = {
        f"{name} layer": partial(layer, name) for name in ("gru", "lstm", "mingru", "minlstm")
    }
    model = LanguageModel()
    architecture = ModelConfig(width=model.width, depth=model.depth, expansion=model.expansion)
    return {**layers, "language model": partial(update_program, model, architecture)}


@dataclass(frozen=True)
class Allocator:
    """Times training steps in processes of their own, with and without --keep-pages.

    The settings take turns; each process times every program. Beside the time stands how many
    pages the system had to hand out in a step, and the most memory that the process held. Linux
    only. Writes OUT/allocator.jsonl and prints the table.

    Attributes:
      rounds: processes of each setting.
      out: folder for the results. Rows are added to those that are there.
    """

    rounds: int = 3
    out: Path = Path("runs/allocator")

    def validate(self) -> None:
        """Raises ValueError at the first option that is out of range."""
        if self.rounds < 1:
            raise ValueError(f"rounds is {self.rounds}; at least 1 is needed")
        if not sys.platform.startswith("linux"):
            raise ValueError(f"allocator is about glibc on Linux; this is {sys.platform}")


def run(
    config: Allocator, advance: Callable[[str], None] = lambda text: None
) -> Iterator[records.Record]:
    """Measures and yields rows, each written to OUT/allocator.jsonl before it is yielded."""
    config.validate()
    common = {"benchmark": "allocator", **records.environment(jax.devices("cpu")[0])}
    for k in range(config.rounds):
        for setting, tunables in SETTINGS.items():
            advance(f"round {k + 1}, {setting}")
            environment = {**os.environ, "GLIBC_TUNABLES": tunables, "JAX_PLATFORMS": "cpu"}
            command = [sys.executable, "-m", "rnnlab.bench.malloc", setting]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            for line in done.stdout.splitlines():
                row = {
                    **common,
                    "glibc_tunables": tunables,
                    "setting": setting,
                    "round": k,
                    "seed": 0,
                    "repeats": REPEATS,
                    **json.loads(line),
                }
                records.append(config.out / "allocator.jsonl", row)
                yield row


def steps(config: Allocator) -> int:
    """How often `run` calls `advance`."""
    return config.rounds * len(SETTINGS)


def table(measured: list[records.Record]) -> Table:
    headings = ("program", "allocator", "step, ms", "rounds, ms", "× as it is", "pages a step")
    lines, breaks = [], set()
    settings = dict.fromkeys(r["setting"] for r in measured)
    for program in dict.fromkeys(r["program"] for r in measured):
        for setting in settings:
            chosen = _of(measured, program, setting)
            base = _of(measured, program, "as it is")
            seconds = [r["seconds"] for r in chosen]
            ratios = [r["seconds"] / b["seconds"] for r, b in zip(chosen, base, strict=False)]
            lines.append(
                (
                    program,
                    setting,
                    milliseconds(float(np.median(seconds))),
                    f"{milliseconds(min(seconds))} to {milliseconds(max(seconds))}",
                    f"{np.median(ratios):.2f}",
                    f"{np.median([r['faults'] for r in chosen]):,.0f}",
                )
            )
        breaks.add(len(lines) - 1)
    title = f"training steps on {machine(measured[0])}; float32"
    return Table(title, headings, lines, frozenset(breaks))


def _of(measured, program, setting):
    return [r for r in measured if (r["program"], r["setting"]) == (program, setting)]


def _measure(setting: str) -> None:
    """Times every program in this process and prints a JSON object for each."""
    if setting == KEEP:
        keep_memory()
    for name, prepared in programs().items():
        ready = prepared()
        time_interleaved([ready.call], 2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        (seconds,) = time_interleaved([ready.call], REPEATS)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        row = {
            "program": name,
            "seconds": quartiles(seconds)[1],
            "faults": (usage.ru_minflt - before) / (REPEATS + 1),
            "peak_bytes": 1024 * usage.ru_maxrss,
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    _measure(sys.argv[1])
