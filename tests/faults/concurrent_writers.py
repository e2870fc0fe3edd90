"""Two processes that want to write one run."""

import os
import socket
import time
from pathlib import Path

from faults.harness import Lab, run_folder
from rnnlab.records import Record


def second_writers(lab: Lab, out: Path, starts: int) -> list[Record]:
    """Starts `resume`, or the same `run`, while a run is trained, which has to end as ever."""
    process = lab.run(out, stage="every_step")
    folder = run_folder(out)
    while not (folder / "latest.json").exists() and process.poll() is None:
        time.sleep(0.01)
    rows = []
    for number in range(starts):
        if process.poll() is not None:
            break
        second = lab.wait(lab.run(out)) if number % 2 else lab.resume(out)
        running = process.poll() is None
        holder = f"process {process.pid} on {socket.gethostname()}"
        rows.append(
            {
                "running": running,
                "code": second.code,
                "named": holder in second.err,
                "lines": len(second.err.splitlines()),
                "seconds": round(second.seconds, 2),
            }
        )
    first = lab.wait(process)
    for row in rows:
        row["first"] = first.code
        row["same"] = lab.same_end(out)
    return rows


def together(lab: Lab, out: Path, writers: int) -> Record:
    """Starts several at once on a run that was stopped: one runs, the others are refused."""
    folder = lab.copy_of_whole(out)
    lock = folder / "run.lock"
    lock.touch()
    words = ["resume", str(folder), "--from-step", "10"]
    started = [lab.rnnlab(*words, stage="every_step") for _ in range(writers)]
    codes = sorted(lab.wait(process).code for process in started)
    return {"codes": codes, "one": codes == [0] + [7] * (writers - 1), "same": lab.same_end(out)}


def killed_holder(lab: Lab, out: Path) -> Record:
    """A lock whose holder was killed holds nobody up."""
    process = lab.run(out, stage="every_step")
    while not (run_folder(out) / "latest.json").exists() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, 9)
    first = lab.wait(process)
    resumed = lab.resume(out)
    return {"killed": first.code == -9, "resumed": resumed.code == 0, "same": lab.same_end(out)}
