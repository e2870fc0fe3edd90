"""SIGKILL at a random moment, inside a save, the first save or a deletion, and in a chain."""

import random
import signal
import subprocess
import threading
import time
from pathlib import Path

from faults.lab import LAST, Done, Lab, run_folder, steps
from rnnlab import rows
from rnnlab.rows import Row


def kill_in_a_run(lab: Lab, out: Path, seed: int, inside: bool) -> Row:
    """Kills a run once and goes on with it.

    Args:
      lab: where.
      out: folder of the run, new.
      seed: of the moment.
      inside: whether to wait for a save's temporary folder first, that of a random step.
    """
    draw = random.Random(seed)
    step = 2 * draw.randrange(LAST // 2)
    process, said = _started(lab, out)
    folder = run_folder(out) / "checkpoints"
    found = folder / f"{step}.new" if inside else folder / str(step)
    while not found.exists() and process.poll() is None:
        time.sleep(0.0005)
    time.sleep(draw.uniform(0, 0.03 if inside else 0.4))
    process.send_signal(signal.SIGKILL)
    done = said()
    proven = any(folder.glob("*.new"))
    on_disk = steps(run_folder(out))
    resumed = lab.resume(out)
    return {
        "inside": proven,
        "killed": done.code == -signal.SIGKILL,
        "kept": done.committed <= max(on_disk, default=-1),
        "resumed": resumed.code == 0,
        "same": resumed.code == 0 and lab.same_end(out),
        "metrics": _rows_parse(run_folder(out)),
        "said": resumed.err.strip()[-300:] if resumed.code else "",
    }


def kill_in_the_first_save(lab: Lab, out: Path, seed: int) -> Row:
    """Kills a run before anything is committed and goes on with it from nothing."""
    draw = random.Random(seed)
    process, said = _started(lab, out)
    beside = run_folder(out) / "checkpoints" / "0.new"
    while not beside.exists() and process.poll() is None:
        time.sleep(0.0005)
    time.sleep(draw.uniform(0, 0.01))
    process.send_signal(signal.SIGKILL)
    said()
    empty = not steps(run_folder(out))
    resumed = lab.resume(out)
    words = "holds no checkpoint; starting from step 0"
    return {
        "inside": empty,
        "resumed": resumed.code == 0,
        "same": resumed.code == 0 and lab.same_end(out),
        "told": not empty or words in resumed.err + resumed.out,
    }


def kill_in_a_deletion(lab: Lab, out: Path, seed: int) -> Row:
    """Kills a run while it deletes an old step, file by file and slowly."""
    draw = random.Random(seed)
    process, said = _started(lab, out, stage="deletion")
    folder = run_folder(out) / "checkpoints"
    while not any(folder.glob("*.old")) and process.poll() is None:
        time.sleep(0.0005)
    time.sleep(draw.uniform(0, 0.15))
    process.send_signal(signal.SIGKILL)
    said()
    proven = any(folder.glob("*.old"))
    verified = lab.wait(lab.rnnlab("verify", str(run_folder(out))))
    resumed = lab.resume(out)
    return {
        "inside": proven,
        "sound": verified.code == 0,
        "resumed": resumed.code == 0,
        "same": resumed.code == 0 and lab.same_end(out),
    }


def kill_in_a_chain(lab: Lab, out: Path, seed: int, kills: int) -> Row:
    """Kills a run again and again, each time a while after something was committed."""
    draw = random.Random(seed)
    process, said = _started(lab, out)
    count = 0
    for _ in range(kills):
        before = max(steps(run_folder(out)), default=-1)
        while max(steps(run_folder(out)), default=-1) <= before and process.poll() is None:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        count += said().code == -signal.SIGKILL
        process, said = _started(lab, out, "resume")
    done = said()
    return {"kills": count, "resumed": done.code == 0, "same": lab.same_end(out)}


def _started(lab: Lab, out: Path, what: str = "run", stage: str = ""):
    """A process, and a function that waits for it; its pipes are read meanwhile."""
    folder = str(run_folder(out))
    process = lab.run(out, stage=stage) if what == "run" else lab.rnnlab("resume", folder)
    return process, _reader(lab, process)


def _reader(lab: Lab, process: subprocess.Popen):
    found: list[Done] = []
    thread = threading.Thread(target=lambda: found.append(lab.wait(process)))
    thread.start()

    def said() -> Done:
        thread.join()
        return found[0]

    return said


def _rows_parse(folder: Path) -> bool:
    path = folder / "metrics.jsonl"
    try:
        return bool(list(rows.read(path)))
    except ValueError:
        return False
