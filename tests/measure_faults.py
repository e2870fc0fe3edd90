"""Is anything lost when a run is killed, its files are corrupt, or its disk is full?

Command:  python tests/measure_faults.py
Device:   two cores of a shared x86 machine; parts of 2 to 25 minutes. The part `disk` mounts a
          small file system and needs the right to mount.
Expected: no saved step lost, every resumed run equal to an undisturbed one byte by byte, every
          flipped bit detected or harmless, every bad input refused in one line.
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
from faults import concurrent_writers, corruption, disk, inputs, kills, process_kills, signals
from faults.harness import LAST_STEP, Lab
from rich.progress import track

from rnnlab import records
from rnnlab.provenance import environment, git_revision
from rnnlab.records import Record

OUT = Path(__file__).parents[1] / "experiments" / "results"
PARALLEL_TRIALS = 2
"""Trials at a time: one per core."""


@dataclass(frozen=True)
class Part:
    """A kind of fault.

    Attributes:
      trials: the number of trials at full size.
      run: yields one record per trial.
      expected: the values that every record must have.
    """

    trials: int
    run: Callable[[Lab, Path, int], Iterable[Record]]
    expected: dict[str, object]


def in_parallel(trial: Callable[[int], Record], trials: int) -> Iterator[Record]:
    """Records of independent trials, some in parallel."""
    with ThreadPoolExecutor(PARALLEL_TRIALS) as pool:
        yield from pool.map(trial, range(trials))


def killed(lab: Lab, out: Path, trials: int) -> Iterator[Record]:
    """SIGKILL: five in six inside a save, the others at any moment."""

    def trial(k: int) -> Record:
        return kills.kill_in_a_run(lab, out / str(k), seed=k, inside=k % 6 != 5)

    return in_parallel(trial, trials)


def stopped(lab: Lab, out: Path, trials: int, number: signal.Signals) -> Iterator[Record]:
    """A signal at one stage after the other."""
    stages = list(itertools.islice(itertools.cycle(signals.STAGES), trials))
    return in_parallel(lambda k: signals.stop_at(lab, out / str(k), stages[k], number), trials)


def corrupted(lab: Lab, out: Path, trials: int) -> Iterator[Record]:
    """Each file in each way within this process, then some in real processes."""
    yield from corruption.corrupt_files(lab, out / "all")
    run = lab.reference_run
    files = [file for file in corruption.step_files(run) if (run / file).stat().st_size]
    chosen = list(
        itertools.islice(itertools.cycle(itertools.product(files, corruption.KINDS)), trials)
    )

    def trial(k: int) -> Record:
        record = corruption.corrupt_and_resume(lab, out / str(k), *chosen[k])
        wanted = {
            "strict": 4,
            "strict_lines": 1,
            "code": 0,
            "warned": 1,
            "kept": True,
            "same": True,
        }
        return {**record, "file": chosen[k][0].name, "kind": chosen[k][1], "ok": record == wanted}

    yield from in_parallel(trial, trials)


def full(lab: Lab, out: Path, trials: int) -> Iterator[Record]:
    """A full disk at every save, with and without a check before; then at metrics records."""
    saves = range(1, LAST_STEP // 2 + 2)
    with disk.small_disk(out / "disk") as folder:
        for save, (left, unchecked) in itertools.product(
            saves, ((4096, False), (4096, True), (65536, True))
        ):
            yield disk.fill_at_a_save(lab, folder, save, left, unchecked)
        for number in range(1, trials + 1 - 3 * len(saves)):
            yield disk.fill_at_a_record(lab, folder, number)


def written_twice(lab: Lab, out: Path, trials: int) -> Iterator[Record]:
    """Second writers while a run trains; then several that start in parallel."""
    found = 0
    for number in itertools.count():
        here = out / f"second-{number}"
        for record in concurrent_writers.second_writers(lab, here, trials - found):
            found += 1
            yield {**record, "ok": record["code"] == 7 and record["seconds"] < 2}
        if found >= trials:
            break
    for k in range(3):
        record = concurrent_writers.concurrent_start(lab, out / f"start-{k}", 4)
        yield {"ok": record["one"], "first": 0, "named": True, "same": record["same"]}


def killed_process(lab: Lab, out: Path, trials: int) -> Iterator[Record]:
    """SIGKILL of one of two processes at any moment."""
    undisturbed = out / "undisturbed"
    process_kills.train(lab, undisturbed).wait()
    for k in range(trials):
        yield process_kills.kill_one(lab, undisturbed, out / str(k), seed=k)


PARTS = {
    "kills": Part(200, killed, {"killed": True, "kept": True, "same": True, "metrics": True}),
    "first_save": Part(
        50,
        lambda lab, out, n: in_parallel(
            lambda k: kills.kill_in_the_first_save(lab, out / str(k), k), n
        ),
        {"killed": True, "inside": True, "same": True, "told": True},
    ),
    "deletions": Part(
        50,
        lambda lab, out, n: in_parallel(
            lambda k: kills.kill_in_a_deletion(lab, out / str(k), k), n
        ),
        {"killed": True, "inside": True, "sound": True, "same": True},
    ),
    "chains": Part(
        10,
        lambda lab, out, n: in_parallel(
            lambda k: kills.kill_repeatedly(lab, out / str(k), k, 5), n
        ),
        {"killed": True, "same": True},
    ),
    "flips": Part(
        500, lambda lab, out, n: corruption.flip_bits(lab, out / "flips", n, 0), {"ok": True}
    ),
    "files": Part(20, corrupted, {"ok": True}),
    "pointers": Part(
        len(corruption.POINTERS) * len(corruption.KINDS),
        lambda lab, out, n: corruption.corrupt_pointers(lab, out),
        {"ok": True},
    ),
    "disk": Part(
        36, full, {"reached": True, "code": 5, "lines": 1, "committed": True, "same": True}
    ),
    "writers": Part(20, written_twice, {"ok": True, "named": True, "first": 0, "same": True}),
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
        lambda lab, out, n: in_parallel(lambda k: signals.terminate_twice(lab, out / str(k)), n),
        {"reached": True, "code": -15, "kept": True, "same": True},
    ),
    "processes": Part(20, killed_process, process_kills.EXPECTED),
    "inputs": Part(
        len(inputs.CASES),
        lambda lab, out, n: inputs.run_cases(lab, out),
        {"ok": True, "in_time": True},
    ),
}


@dataclass(frozen=True)
class Reliability:
    """Injects faults and counts their effects. Fails if one has an unexpected effect."""

    parts: tuple[str, ...] = tuple(PARTS)
    """The kinds of faults."""
    trials: int | None = None
    """The number of trials of each kind; by default that of the full size."""
    out: Path = OUT
    """The folder of reliability/rows.jsonl, and of bad_input/rows.jsonl for bad inputs."""
    folder: Path = field(default_factory=lambda: Path(tempfile.gettempdir()) / "rnnlab-faults")
    """The folder of the runs; it is emptied first."""


def main(command: Reliability) -> int:
    """Runs the parts. Returns the number of failures."""
    unknown = set(command.parts) - set(PARTS)
    if unknown:
        raise ValueError(
            f"parts must be among {', '.join(PARTS)}, got {', '.join(sorted(unknown))}"
        )
    shutil.rmtree(command.folder, ignore_errors=True)
    lab = Lab.build(command.folder)
    failures = 0
    for name in command.parts:
        part = PARTS[name]
        trials = command.trials or part.trials
        # Trial k draws its moment with seed k.
        around = {"seed": 0, "commit": git_revision(), **environment(jax.devices()[0])}
        found, failed = [], []
        for record in track(part.run(lab, command.folder / name, trials), name, total=trials):
            if name == "flips":
                record["ok"] = record["detected"] or record["harmless"]
            found.append(record)
            if any(record.get(k) != v for k, v in part.expected.items()):
                failed.append(record)
                print(f"{name}: {record}", flush=True)
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
            for record in found:
                records.append(command.out / "bad_input" / "rows.jsonl", {**record, **around})
        shutil.rmtree(command.folder / name, ignore_errors=True)
    return failures


def counts(found: list[Record]) -> Record:
    """The number of trials with each flag set, their tries, and the slowest in seconds."""
    flags = (name for record in found for name, x in record.items() if isinstance(x, bool))
    counted = {
        name: sum(record.get(name) is True for record in found) for name in dict.fromkeys(flags)
    }
    tries = [record["tries"] for record in found if "tries" in record]
    seconds = [record["seconds"] for record in found if "seconds" in record]
    return (
        counted
        | ({"tries": sum(tries)} if tries else {})
        | ({"slowest": max(seconds)} if seconds else {})
    )


if __name__ == "__main__":
    raise SystemExit(min(1, main(tyro.cli(Reliability))))
