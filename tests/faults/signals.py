"""SIGTERM and SIGINT at every stage of a run, and SIGTERM twice within a save."""

import signal
import time
from pathlib import Path

from faults.harness import Lab, run_folder, steps
from rnnlab.records import Record

STAGES = ("import", "data", "compile", "step", "evaluation", "save")


def stop_at(lab: Lab, out: Path, stage: str, number: signal.Signals) -> Record:
    """Sends a signal when a stage is reached, and goes on with what is left."""
    process, reached = _reached(lab, out, stage)
    start = time.perf_counter()
    process.send_signal(number)
    done = lab.wait(process)
    seconds = time.perf_counter() - start
    folder = run_folder(out)
    on_disk = max(steps(folder), default=-1)
    lines = [line for line in done.err.splitlines() if line.startswith("rnnlab: ")]
    begun = (folder / "config.json").exists()
    resumed = lab.resume(out) if begun else lab.wait(lab.run(out))
    return {
        "stage": stage,
        "signal": number.name,
        "reached": reached,
        "code": done.code,
        "lines": len(lines),
        "committed": on_disk == done.last_saved,
        "step": on_disk,
        "seconds": round(seconds, 2),
        "resumed": resumed.code == 0,
        "same": resumed.code == 0 and lab.same_end(out),
        "said": done.err[-400:],
    }


def terminate_twice(lab: Lab, out: Path) -> Record:
    """Sends SIGTERM while a save stands still, and once more before it is done."""
    process, reached = _reached(lab, out, "save")
    before = steps(run_folder(out))
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    start = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    done = lab.wait(process)
    seconds = time.perf_counter() - start
    kept = steps(run_folder(out)) == before
    resumed = lab.resume(out)
    return {
        "reached": reached,
        "code": done.code,
        "seconds": round(seconds, 2),
        "kept": kept,
        "same": resumed.code == 0 and lab.same_end(out),
    }


def _reached(lab: Lab, out: Path, stage: str):
    """A run's process, when it has reached a stage; whether it did before it ended."""
    process = lab.run(out, stage=stage)
    mark = lab.folder / "stages" / f"{stage}.{process.pid}"
    while not mark.exists() and process.poll() is None:
        time.sleep(0.001)
    return process, mark.exists()
