"""SIGKILL at a random moment, inside a save, the first save or a deletion, and repeatedly."""

import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from faults.harness import LAST_STEP, Lab, Outcome, run_folder, saved_steps
from rnnlab import records
from rnnlab.records import Record

MAX_TRIES = 8
"""The most runs of a trial; in most trials the first kill hits its target."""


class Kill(NamedTuple):
    """A run that was killed.

    Attributes:
      out: the folder that holds the run directory.
      outcome: the exit code and output of its process.
      hit_target: whether the kill left the half-done operation that it aimed at.
      tries: the number of runs that were started for it.
    """

    out: Path
    outcome: Outcome
    hit_target: bool
    tries: int

    @property
    def killed(self) -> bool:
        """Whether the signal ended the process."""
        return self.outcome.code == -signal.SIGKILL


def kill_in_a_run(lab: Lab, out: Path, seed: int, inside: bool) -> Record:
    """Kills a run once and resumes it.

    Args:
      lab: the experiment.
      out: a new folder for the runs.
      seed: decides the moment.
      inside: whether the kill aims at a save: that of a random step, after it has begun.
    """
    draw = random.Random(seed)
    step = 2 * draw.randrange(LAST_STEP // 2)
    if inside:
        kill = _kill_after(lab, out, draw, f"{step}.tmp", 0.03, target="*.tmp")
    else:
        kill = _kill_after(lab, out, draw, f"{step}", 0.4)
    folder = run_folder(kill.out)
    on_disk = saved_steps(folder)
    resumed = lab.resume(kill.out)
    return {
        "inside": kill.hit_target,
        "killed": kill.killed,
        "tries": kill.tries,
        "kept": kill.outcome.saved_step <= max(on_disk, default=-1),
        "resumed": resumed.code == 0,
        "same": resumed.code == 0 and lab.matches_reference(kill.out),
        "metrics": _metrics_are_valid(folder),
        "said": resumed.stderr.strip()[-300:] if resumed.code else "",
    }


def kill_in_the_first_save(lab: Lab, out: Path, seed: int) -> Record:
    """Kills a run before its first checkpoint is complete and resumes it from nothing."""
    kill = _kill_after(lab, out, random.Random(seed), "0.tmp", 0.01, target="0.tmp")
    is_empty = not saved_steps(run_folder(kill.out))
    resumed = lab.resume(kill.out)
    message = "has no checkpoint; starting from step 0"
    return {
        "inside": kill.hit_target and is_empty,
        "killed": kill.killed,
        "tries": kill.tries,
        "resumed": resumed.code == 0,
        "same": resumed.code == 0 and lab.matches_reference(kill.out),
        "told": message in resumed.stderr + resumed.stdout,
    }


def kill_in_a_deletion(lab: Lab, out: Path, seed: int) -> Record:
    """Kills a run while it slowly deletes an old checkpoint, file by file."""
    draw = random.Random(seed)
    kill = _kill_after(lab, out, draw, "*.trash", 0.15, target="*.trash", point="deletion")
    verified = lab.wait(lab.rnnlab("verify", str(run_folder(kill.out))))
    resumed = lab.resume(kill.out)
    return {
        "inside": kill.hit_target,
        "killed": kill.killed,
        "tries": kill.tries,
        "sound": verified.code == 0,
        "resumed": resumed.code == 0,
        "same": resumed.code == 0 and lab.matches_reference(kill.out),
    }


def kill_repeatedly(lab: Lab, out: Path, seed: int, kills: int) -> Record:
    """Kills a run several times, each time a random while after a new checkpoint."""
    draw = random.Random(seed)
    process, outcome = _start(lab, lab.run(out))
    count = 0
    for _ in range(kills):
        before = max(saved_steps(run_folder(out)), default=-1)
        while max(saved_steps(run_folder(out)), default=-1) <= before and process.poll() is None:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        count += outcome().code == -signal.SIGKILL
        process, outcome = _start(lab, lab.rnnlab("resume", str(run_folder(out))))
    last = outcome()
    return {
        "kills": count,
        "killed": count >= 2,
        "resumed": last.code == 0,
        "same": lab.matches_reference(out),
    }


def _kill_after(
    lab: Lab,
    out: Path,
    draw: random.Random,
    appears: str,
    wait: float,
    target: str = "",
    point: str = "",
) -> Kill:
    """Kills a run a random while after a file appears among its checkpoints.

    Tries again in a new folder if the run ended first or the kill missed its target.

    Args:
      lab: the experiment.
      out: the folder for the runs.
      draw: decides the moment.
      appears: a pattern of file names.
      wait: the longest time from then to the kill, in seconds.
      target: a pattern of the files that a half-done save or deletion leaves.
      point: an injection point.
    """
    for tries in range(1, MAX_TRIES + 1):
        here = out / str(tries)
        process, outcome = _start(lab, lab.run(here, point=point))
        folder = run_folder(here) / "checkpoints"
        while not any(folder.glob(appears)) and process.poll() is None:
            time.sleep(0.0005)
        time.sleep(draw.uniform(0, wait))
        process.send_signal(signal.SIGKILL)
        kill = Kill(here, outcome(), any(folder.glob(target or "*.tmp")), tries)
        if kill.killed and (kill.hit_target or not target):
            break
    return kill


def _start(lab: Lab, process: subprocess.Popen) -> tuple[subprocess.Popen, Callable[[], Outcome]]:
    """The process, and a function that waits for it while a thread reads its pipes."""
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.append(lab.wait(process)))
    thread.start()

    def outcome() -> Outcome:
        thread.join()
        return found[0]

    return process, outcome


def _metrics_are_valid(folder: Path) -> bool:
    """Whether the metrics file of a run parses and holds a record."""
    try:
        return bool(list(records.read(folder / "metrics.jsonl")))
    except ValueError:
        return False
