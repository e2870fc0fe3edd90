"""Disks that are full at a save or at a row of metrics: a small file system of their own."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.harness import Lab, digests, run_folder, steps
from rnnlab import records
from rnnlab.records import Record

SIZE = "24m"


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system in memory, mounted for a while. Needs the right to mount.

    Raises:
      OSError: it could not be mounted.
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
    """Fills the disk at a save, makes room again, and goes on.

    Args:
      lab: where.
      disk: a folder of a small file system.
      save: which one, from 1.
      left: bytes that are left free.
      unchecked: whether the save begins without looking whether there is room.
    """
    return _fill(lab, disk / f"{save}-{left}-{unchecked}", f"full:{save}:{left}:{unchecked}")


def fill_at_a_row(lab: Lab, disk: Path, row: int) -> Record:
    """Fills the disk before a row of metrics, makes room again, and goes on."""
    return _fill(lab, disk / f"row-{row}", f"row:{row}")


def _fill(lab: Lab, out: Path, stage: str) -> Record:
    process = lab.run(out, stage=stage)
    done = lab.wait(process)
    reached = (lab.folder / "stages" / f"{stage}.{process.pid}").exists()
    folder = run_folder(out)
    on_disk = steps(folder)
    for step in on_disk:
        digests(folder, step)  # raises where a step is damaged
    metrics = len(list(records.read(folder / "metrics.jsonl"))) if on_disk else 0
    left_over = [p.name for p in (folder / "checkpoints").glob("*.tmp")]
    (out / "ballast").unlink()
    resumed = lab.resume(out)
    same = resumed.code == 0 and lab.same_end(out)
    shutil.rmtree(out)
    # Beside what a run says of itself as long as it goes well.
    lines = [
        line
        for line in done.err.splitlines()
        if "saved step " not in line and " parameters, " not in line
    ]
    return {
        "stage": stage,
        "reached": reached,
        "code": done.code,
        "lines": len(lines),
        "said": lines[0] if lines else "",
        "committed": max(on_disk, default=-1) >= done.last_saved,
        "rows": metrics,
        "clean": not left_over,
        "same": same,
    }
