"""SIGKILL at a random moment, inside a save, the first save or a deletion, and in a chain."""

import random
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import NamedTuple

from faults.harness import LAST, Done, Lab, run_folder, steps
from rnnlab import records
from rnnlab.records import Record

TRIES = 8
"""The most runs of a trial; of most trials the first one's kill lands where it has to."""


class Kill(NamedTuple):
    """A run that was killed.

    Attributes:
      out: where the run's folder is.
      done: what its process left.
      inside: whether what it was killed in is there half done.
      tries: runs that were started for it.
    """

    out: Path
    done: Done
    inside: bool
    tries: int

    @property
    def killed(self) -> bool:
        """Whether it did not end by itself."""
        return self.done.code == -signal.SIGKILL


def kill_in_a_run(lab: Lab, out: Path, seed: int, inside: bool) -> Record:
    """Kills a run once and goes on with it.

    Args:
      lab: where.
      out: folder of the runs, new.
      seed: of the moment.
      inside: whether it has to be inside a save: after that of a random step has begun.
    """
    draw = random.Random(seed)
    step = 2 * draw.randrange(LAST // 2)
    if inside:
        kill = _killed(lab, out, draw, f"{step}.tmp", 0.03, inside="*.tmp")
    else:
        kill = _killed(lab, out, draw, f"{step}", 0.4)
    folder = run_folder(kill.out)
    on_disk = steps(folder)
    resumed = lab.resume(kill.out)
    return {
        "inside": kill.inside,
        "killed": kill.killed,
        "tries": kill.tries,
        "kept": kill.done.last_saved <= max(on_disk, default=-1),
        "resumed": resumed.code == 0,
        "same": resumed.code == 0 and lab.same_end(kill.out),
        "metrics": _rows_parse(folder),
        "said": resumed.err.strip()[-300:] if resumed.code else "",
    }


def kill_in_the_first_save(lab: Lab, out: Path, seed: int) -> Record:
    """Kills a run before anything is committed and goes on with it from nothing."""
    kill = _killed(lab, out, random.Random(seed), "0.tmp", 0.01, inside="0.tmp")
    empty = not steps(run_folder(kill.out))
    resumed = lab.resume(kill.out)
    words = "holds no checkpoint; starting from step 0"
    return {
        "inside": kill.inside and empty,
        "killed": kill.killed,
        "tries": kill.tries,
        "resumed": resumed.code == 0,
        "same": resumed.code == 0 and lab.same_end(kill.out),
        "told": words in resumed.err + resumed.out,
    }


def kill_in_a_deletion(lab: Lab, out: Path, seed: int) -> Record:
    """Kills a run while it deletes an old step, file by file and slowly."""
    kill = _killed(
        lab, out, random.Random(seed), "*.trash", 0.15, inside="*.trash", stage="deletion"
    )
    verified = lab.wait(lab.rnnlab("verify", str(run_folder(kill.out))))
    resumed = lab.resume(kill.out)
    return {
        "inside": kill.inside,
        "killed": kill.killed,
        "tries": kill.tries,
        "sound": verified.code == 0,
        "resumed": resumed.code == 0,
        "same": resumed.code == 0 and lab.same_end(kill.out),
    }


def kill_in_a_chain(lab: Lab, out: Path, seed: int, kills: int) -> Record:
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
    return {
        "kills": count,
        "killed": count >= 2,
        "resumed": done.code == 0,
        "same": lab.same_end(out),
    }


def _killed(
    lab: Lab,
    out: Path,
    draw: random.Random,
    appears: str,
    wait: float,
    inside: str = "",
    stage: str = "",
) -> Kill:
    """Kills a run a while after something appears among its checkpoints.

    Where the run has ended before, or was not killed inside of what it has to be, another one is
    started in a folder of its own.

    Args:
      lab: where.
      out: folder of the runs.
      draw: of the moment.
      appears: a pattern of names.
      wait: the longest time from then to the kill, of which a random part is taken.
      inside: a pattern of what is left of a save or deletion that has to be cut short.
      stage: of `stages.py`.
    """
    for tries in range(1, TRIES + 1):
        here = out / str(tries)
        process, said = _started(lab, here, stage=stage)
        folder = run_folder(here) / "checkpoints"
        while not any(folder.glob(appears)) and process.poll() is None:
            time.sleep(0.0005)
        time.sleep(draw.uniform(0, wait))
        process.send_signal(signal.SIGKILL)
        kill = Kill(here, said(), any(folder.glob(inside or "*.tmp")), tries)
        if kill.killed and (kill.inside or not inside):
            break
    return kill


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
        return bool(list(records.read(path)))
    except ValueError:
        return False
