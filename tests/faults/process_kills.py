"""Runs of several processes, of which one is killed at a random moment."""

import random
import signal
import time

from faults.harness import LAST_STEP, run_folder, saved_steps
from faults.process_harness import rnnlab
from rnnlab.errors import PEER_LOST
from rnnlab.runs.checkpoints.store import CheckpointStore

EXPECTED = {
    "killed": True,
    "code": PEER_LOST,
    "lines": 1,
    "in_time": True,
    "kept": True,
    "resumed": True,
    "same": True,
}
"""The values that every record of `kill_one` must have."""


def train(lab, folder, *flags, count=2, point="none"):
    """Starts the experiment of the lab in several processes."""
    # Each device draws dropout of its own, so that losses are equal only without it.
    settings = ["--mesh.data", str(count), "--model.dropout", "0"]
    arguments = ["run", str(lab.experiment), "--out", str(folder / "out"), *settings, *flags]
    return rnnlab(folder / "job", *arguments, count=count, point=point)


def resume(folder, *flags, count=2, name="resumed"):
    """Resumes the run in several processes and waits for their end."""
    run = run_folder(folder / "out")
    return rnnlab(folder / name, "resume", str(run), *flags, count=count).wait()


def digests(run, step=LAST_STEP):
    """The digests of a checkpoint's reproducible leaves."""
    leaves = CheckpointStore(run, {}).read_manifest(step).leaves
    return {name: leaf for name, leaf in leaves.items() if "seconds" not in name}


def wait_for_step(folder, job, step):
    """Waits until a run has saved a step, or its first process has ended."""
    while max(saved_steps(run_folder(folder / "out")), default=-1) < step:
        assert job.children[0].poll() is None, job.wait()
        time.sleep(0.01)


def kill_one(lab, undisturbed, folder, seed):
    """Kills a process of two at a random moment and resumes the run. Returns a record.

    Args:
      lab: the experiment.
      undisturbed: the folder of a run of two processes that nothing disturbed.
      folder: a new folder for the run.
      seed: decides the process and the moment.
    """
    draw = random.Random(seed)
    victim = draw.randrange(2)
    job = train(lab, folder)
    wait_for_step(folder, job, 2 * draw.randrange(5))
    time.sleep(draw.uniform(0, 0.4))
    job.children[victim].kill()
    ended = job.wait()
    left, run = ended[1 - victim], run_folder(folder / "out")
    reported = [line for line in ended[0].stderr.splitlines() if "saved step" in line]
    steps = saved_steps(run)
    is_kept = all(int(line.rpartition("saved step ")[2]) <= steps[-1] for line in reported)
    resumed = resume(folder)
    return {
        "victim": victim,
        "killed": ended[victim].code == -signal.SIGKILL,
        "code": left.code,
        "lines": len(left.lines),
        "in_time": left.at - ended[victim].at < 60,
        "seconds": round(left.at - ended[victim].at, 2),
        "kept": is_kept,
        "resumed": all(end.code == 0 for end in resumed),
        "same": resumed[0].code == 0 and digests(run) == digests(run_folder(undisturbed / "out")),
    }
