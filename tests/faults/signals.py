"""SIGTERM and SIGINT at every stage of a run, and SIGTERM twice within a save."""

import signal
import time
from pathlib import Path

from faults.harness import Lab, run_folder, saved_steps
from rnnlab.records import Record

STAGES = ("import", "data", "compile", "step", "evaluation", "save")


def stop_at(lab: Lab, out: Path, stage: str, number: signal.Signals) -> Record:
    """Sends a signal when a run reaches a stage, then resumes the run."""
    process, reached = _start_until(lab, out, stage)
    start = time.perf_counter()
    process.send_signal(number)
    outcome = lab.wait(process)
    seconds = time.perf_counter() - start
    folder = run_folder(out)
    last_saved = max(saved_steps(folder), default=-1)
    lines = [line for line in outcome.stderr.splitlines() if line.startswith("rnnlab: ")]
    has_begun = (folder / "config.json").exists()
    resumed = lab.resume(out) if has_begun else lab.wait(lab.run(out))
    return {
        "stage": stage,
        "signal": number.name,
        "reached": reached,
        "code": outcome.code,
        "lines": len(lines),
        "committed": last_saved == outcome.saved_step,
        "step": last_saved,
        "seconds": round(seconds, 2),
        "resumed": resumed.code == 0,
        "same": resumed.code == 0 and lab.matches_reference(out),
        "said": outcome.stderr[-400:],
    }


def terminate_twice(lab: Lab, out: Path) -> Record:
    """Sends SIGTERM while a save pauses, and again before the save is done."""
    process, reached = _start_until(lab, out, "save")
    before = saved_steps(run_folder(out))
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    start = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    outcome = lab.wait(process)
    seconds = time.perf_counter() - start
    kept = saved_steps(run_folder(out)) == before
    resumed = lab.resume(out)
    return {
        "reached": reached,
        "code": outcome.code,
        "seconds": round(seconds, 2),
        "kept": kept,
        "same": resumed.code == 0 and lab.matches_reference(out),
    }


def _start_until(lab: Lab, out: Path, stage: str):
    """Starts a run and waits for a stage. Returns the process and whether it got there."""
    process = lab.run(out, point=stage)
    marker = lab.marker(stage, process)
    while not marker.exists() and process.poll() is None:
        time.sleep(0.001)
    return process, marker.exists()
