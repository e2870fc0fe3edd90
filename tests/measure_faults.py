"""Is anything lost when a run is killed, its files are damaged, or its disk is full?

Command:  python tests/measure_faults.py
Device:   two cores of a shared x86 machine; parts of 2 to 25 minutes. The part `disk` mounts a
          small file system and needs the right to.
Expected: no committed step lost, every resumed run equal to an undisturbed one byte by byte, every
          flipped bit detected or without effect, every bad input refused in one line.
Paper:    none.
"""

import itertools
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import jax
import tyro
from faults import concurrent_writers, corruption, disk, inputs, kills, signals
from faults.harness import LAST, Lab
from rich.progress import track

from rnnlab import records
from rnnlab.records import Record, commit, environment

OUT = Path(__file__).parents[1] / "experiments" / "results"
AT_ONCE = 2
"""Runs at a time: one a core."""


@dataclass(frozen=True)
class Part:
    """A kind of fault.

    Attributes:
      trials: how often, at full size.
      run: yields a row a trial.
      must: what every row has to have.
    """

    trials: int
    run: Callable[[Lab, Path, int], Iterable[Record]]
    must: dict[str, object]


def at_once(trial: Callable[[int], Record], trials: int) -> Iterator[Record]:
    """Rows of independent trials, some at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(trial, range(trials))


def killed(lab: Lab, out: Path, trials: int) -> Iterator[Record]:
    """Five in six inside a save, the others at any moment."""

    def trial(k: int) -> Record:
        return kills.kill_in_a_run(lab, out / str(k), seed=k, inside=k % 6 != 5)

    return at_once(trial, trials)


def stopped(lab: Lab, out: Path, trials: int, number: signal.Signals) -> Iterator[Record]:
    """By a signal, at one stage after the other."""
    stages = list(itertools.islice(itertools.cycle(signals.STAGES), trials))
    return at_once(lambda k: signals.stop_at(lab, out / str(k), stages[k], number), trials)


def broken(lab: Lab, out: Path, trials: int) -> Iterator[Record]:
    """Each file in each way within this process, then some by real processes."""
    yield from corruption.break_files(lab, out / "all")
    files = [file for file in corruption.step_files(lab.whole) if (lab.whole / file).stat().st_size]
    chosen = list(
        itertools.islice(itertools.cycle(itertools.product(files, corruption.KINDS)), trials)
    )

    def trial(k: int) -> Record:
        row = corruption.break_and_resume(lab, out / str(k), *chosen[k])
        wanted = {
            "strict": 4,
            "strict_lines": 1,
            "code": 0,
            "warned": 1,
            "kept": True,
            "same": True,
        }
        return {**row, "file": chosen[k][0].name, "kind": chosen[k][1], "ok": row == wanted}

    yield from at_once(trial, trials)


def full(lab: Lab, out: Path, trials: int) -> Iterator[Record]:
    """At every save, checked before it and not; then at every row of metrics."""
    saves = range(1, LAST // 2 + 2)
    with disk.small_disk(out / "disk") as folder:
        for save, (left, unchecked) in itertools.product(
            saves, ((4096, False), (4096, True), (65536, True))
        ):
            yield disk.fill_at_a_save(lab, folder, save, left, unchecked)
        for row in range(1, trials + 1 - 3 * len(saves)):
            yield disk.fill_at_a_row(lab, folder, row)


def written(lab: Lab, out: Path, trials: int) -> Iterator[Record]:
    found = 0
    for number in itertools.count():
        for row in concurrent_writers.second_writers(lab, out / f"second-{number}", trials - found):
            found += 1
            yield {**row, "ok": row["code"] == 7 and row["seconds"] < 2}
        if found >= trials:
            break
    for k in range(3):
        row = concurrent_writers.together(lab, out / f"together-{k}", 4)
        yield {"ok": row["one"], "first": 0, "named": True, "same": row["same"]}


PARTS = {
    "kills": Part(200, killed, {"killed": True, "kept": True, "same": True, "metrics": True}),
    "first_save": Part(
        50,
        lambda lab, out, n: at_once(
            lambda k: kills.kill_in_the_first_save(lab, out / str(k), k), n
        ),
        {"killed": True, "inside": True, "same": True, "told": True},
    ),
    "deletions": Part(
        50,
        lambda lab, out, n: at_once(lambda k: kills.kill_in_a_deletion(lab, out / str(k), k), n),
        {"killed": True, "inside": True, "sound": True, "same": True},
    ),
    "chains": Part(
        10,
        lambda lab, out, n: at_once(lambda k: kills.kill_in_a_chain(lab, out / str(k), k, 5), n),
        {"killed": True, "same": True},
    ),
    "flips": Part(
        500, lambda lab, out, n: corruption.flip_bits(lab, out / "flips", n, 0), {"ok": True}
    ),
    "files": Part(20, broken, {"ok": True}),
    "pointers": Part(
        len(corruption.POINTERS) * len(corruption.KINDS),
        lambda lab, out, n: corruption.break_pointers(lab, out),
        {"ok": True},
    ),
    "disk": Part(
        36, full, {"reached": True, "code": 5, "lines": 1, "committed": True, "same": True}
    ),
    "writers": Part(20, written, {"ok": True, "named": True, "first": 0, "same": True}),
    "sigterm": Part(
        36,
        lambda lab, out, n: stopped(lab, out, n, signal.SIGTERM),
        {"reached": True, "code": 143, "lines": 1, "committed": True, "same": True},
    ),
    "sigint": Part(
        12,
        lambda lab, out, n: stopped(lab, out, n, signal.SIGINT),
        {"reached": True, "code": 130, "lines": 1, "committed": True, "same": True},
    ),
    "second_sigterm": Part(
        10,
        lambda lab, out, n: at_once(lambda k: signals.terminate_twice(lab, out / str(k)), n),
        {"reached": True, "code": -15, "kept": True, "same": True},
    ),
    "inputs": Part(
        len(inputs.CASES),
        lambda lab, out, n: inputs.refuse_all(lab, out),
        {"ok": True, "in_time": True},
    ),
}


@dataclass(frozen=True)
class Reliability:
    """Makes faults and counts what they do. Fails where one does what it must not."""

    parts: tuple[str, ...] = tuple(PARTS)
    """Which kinds of faults."""
    trials: int | None = None
    """How many of each; by default the full number."""
    out: Path = OUT
    """Where the rows go: reliability/rows.jsonl, and bad_input/rows.jsonl for the bad inputs."""
    folder: Path = field(default_factory=lambda: Path(tempfile.gettempdir()) / "rnnlab-faults")
    """Where the runs go; it is emptied."""


def main(command: Reliability) -> int:
    """Runs the parts. Returns the number of failures."""
    unknown = set(command.parts) - set(PARTS)
    if unknown:
        raise ValueError(f"parts are {sorted(unknown)}; some of {', '.join(PARTS)} are needed")
    shutil.rmtree(command.folder, ignore_errors=True)
    lab = Lab.build(command.folder)
    failures = 0
    for name in command.parts:
        part = PARTS[name]
        trials = command.trials or part.trials
        # Trial k draws its moment by the seed k.
        around = {"seed": 0, "commit": commit(), **environment(jax.devices()[0])}
        found = []
        for row in track(part.run(lab, command.folder / name, trials), name, total=trials):
            if name == "flips":
                row["ok"] = row["detected"] or row["harmless"]
            found.append(row)
            wrong = {key: row.get(key) for key, value in part.must.items() if row.get(key) != value}
            if wrong:
                print(f"{name}: {row}", flush=True)
        failed = [row for row in found if any(row.get(k) != v for k, v in part.must.items())]
        failures += len(failed)
        records.append(
            command.out / "reliability" / "rows.jsonl",
            {
                "benchmark": "reliability",
                "part": name,
                "trials": len(found),
                "failures": len(failed),
                **counts(found),
                **around,
            },
        )
        if name == "inputs":
            for row in found:
                records.append(command.out / "bad_input" / "rows.jsonl", {**row, **around})
        shutil.rmtree(command.folder / name, ignore_errors=True)
    return failures


def counts(found: list[Record]) -> Record:
    """How many trials have each thing that is true of some, their runs, and the slowest."""
    names = dict.fromkeys(name for row in found for name, x in row.items() if isinstance(x, bool))
    counted = {name: sum(row.get(name) is True for row in found) for name in names}
    tries = [row["tries"] for row in found if "tries" in row]
    seconds = [row["seconds"] for row in found if "seconds" in row]
    return (
        counted
        | ({"tries": sum(tries)} if tries else {})
        | ({"slowest": max(seconds)} if seconds else {})
    )


if __name__ == "__main__":
    raise SystemExit(min(1, main(tyro.cli(Reliability))))
