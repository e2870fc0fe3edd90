"""Disks that are full at a save or at a metrics record, on a small file system in memory."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.harness import Lab, digests, run_folder, saved_steps
from rnnlab import records
from rnnlab.records import Record

SIZE = "24m"


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mounts a small file system in memory at a new folder. Needs the right to mount.

    Raises:
      OSError: the mount failed.
    """
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"no file system could be mounted at {folder}: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill_at_a_save(lab: Lab, disk: Path, save: int, left: int, unchecked: bool) -> Record:
    """Fills the disk at a save, frees space again, and resumes.

    Args:
      lab: the experiment.
      disk: a folder on a small file system.
      save: the number of the save, from 1.
      left: the number of bytes that stay free.
      unchecked: whether the save begins without a look at the free space.
    """
    return _fill(lab, disk / f"{save}-{left}-{unchecked}", f"full:{save}:{left}:{unchecked}")


def fill_at_a_record(lab: Lab, disk: Path, number: int) -> Record:
    """Fills the disk before a metrics record, frees space again, and resumes."""
    return _fill(lab, disk / f"record-{number}", f"record:{number}")


def _fill(lab: Lab, out: Path, point: str) -> Record:
    process = lab.run(out, point=point)
    outcome = lab.wait(process)
    reached = lab.marker(point, process).exists()
    folder = run_folder(out)
    on_disk = saved_steps(folder)
    for step in on_disk:
        digests(folder, step)  # raises if a file of the step is corrupt
    num_records = len(list(records.read(folder / "metrics.jsonl"))) if on_disk else 0
    left_over = [path.name for path in (folder / "checkpoints").glob("*.tmp")]
    (out / "ballast").unlink()
    resumed = lab.resume(out)
    same = resumed.code == 0 and lab.matches_reference(out)
    shutil.rmtree(out)
    # The progress reports of a healthy run do not count.
    lines = [
        line
        for line in outcome.stderr.splitlines()
        if "saved step " not in line and " parameters, " not in line
    ]
    return {
        "stage": point,
        "reached": reached,
        "code": outcome.code,
        "lines": len(lines),
        "said": lines[0] if lines else "",
        "committed": max(on_disk, default=-1) >= outcome.saved_step,
        "rows": num_records,
        "clean": not left_over,
        "same": same,
    }
