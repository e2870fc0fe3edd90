"""Two or more processes that write to one run."""

import os
import socket
import time
from pathlib import Path

from faults.harness import Lab, run_folder
from rnnlab.records import Record


def second_writers(lab: Lab, out: Path, starts: int) -> list[Record]:
    """Starts `resume` and `run` in turn while a run trains; the first run must not be disturbed.

    On a busy machine the run may end before all have started: fewer records are returned then.
    """
    process = _start_until_saved(lab, out)
    found = []
    for number in range(starts):
        if process.poll() is not None:
            break
        second = lab.wait(lab.run(out)) if number % 2 else lab.resume(out)
        is_running = process.poll() is None
        trained = "resuming from step" in second.stdout + second.stderr
        if not is_running and second.code == 0 and not trained:  # it found the first run finished
            break
        holder = f"process {process.pid} on {socket.gethostname()}"
        found.append(
            {
                "running": is_running,
                "code": second.code,
                "named": holder in second.stderr,
                "lines": len(second.stderr.splitlines()),
                "seconds": round(second.seconds, 2),
            }
        )
    first = lab.wait(process)
    for record in found:
        record["first"] = first.code
        record["same"] = lab.matches_reference(out)
    return found


def concurrent_start(lab: Lab, out: Path, writers: int) -> Record:
    """Starts several processes in parallel on a stopped run: one runs, the others exit with 7."""
    folder = lab.copy_reference_without_result(out)
    (folder / "run.lock").touch()
    arguments = ["resume", str(folder), "--from-step", "10"]
    started = [lab.rnnlab(*arguments, point="every_step") for _ in range(writers)]
    codes = sorted(lab.wait(process).code for process in started)
    return {
        "codes": codes,
        "one": codes == [0] + [7] * (writers - 1),
        "same": lab.matches_reference(out),
    }


def stale_lock(lab: Lab, out: Path) -> Record:
    """Kills the holder of a lock, then resumes its run."""
    process = _start_until_saved(lab, out)
    os.kill(process.pid, 9)
    first = lab.wait(process)
    resumed = lab.resume(out)
    return {
        "killed": first.code == -9,
        "resumed": resumed.code == 0,
        "same": lab.matches_reference(out),
    }


def _start_until_saved(lab: Lab, out: Path):
    """Starts a run with slow steps; returns its process after the first checkpoint."""
    process = lab.run(out, point="every_step")
    while not (run_folder(out) / "latest.json").exists() and process.poll() is None:
        time.sleep(0.01)
    return process
