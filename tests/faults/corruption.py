"""Files of a checkpoint that are cut short, deleted, replaced, or have a bit turned over."""

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np

from faults.harness import LAST, Lab, digests
from rnnlab.errors import CheckpointError
from rnnlab.records import Record
from rnnlab.runs.checkpoints import manifest
from rnnlab.runs.checkpoints.store import CheckpointStore

KINDS = ("empty", "half", "almost", "deleted", "garbage")
POINTERS = ("latest.json", "best.json")


def step_files(folder: Path) -> list[Path]:
    """The files of a run's newest step, relative to the run's folder."""
    newest = folder / "checkpoints" / str(LAST)
    return [path.relative_to(folder) for path in sorted(newest.rglob("*")) if path.is_file()]


def flip_bits(lab: Lab, out: Path, trials: int, seed: int) -> Iterator[Record]:
    """Turns one random bit of one random file over, restores, and puts it back.

    A flip is detected where a warning names the step, and harmless where the newest step is
    restored with the very bytes that were stored.
    """
    draw = random.Random(seed)
    folder = lab.copy_of_whole(out)
    stored = digests(folder)
    like = _like(folder)
    files = [*step_files(folder), *map(Path, POINTERS)]
    for _ in range(trials):
        # By size: every bit of the checkpoint is as likely as any other.
        sizes = [(folder / file).stat().st_size for file in files]
        file = draw.choices(files, sizes)[0]
        path = folder / file
        bytes_before = path.read_bytes()
        bit = draw.randrange(8 * len(bytes_before))
        damaged = bytearray(bytes_before)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        lines: list[str] = []
        try:
            restored = CheckpointStore(folder, {}, lines.append).restore_latest(like)
            same = restored.step == LAST and _digests(restored.tree) == stored
            detected = restored.step < LAST and len(lines) == 2 and f"step {LAST}" in lines[0]
        finally:
            path.write_bytes(bytes_before)
        yield {"file": _kind(file), "bit": bit, "detected": detected, "harmless": same}


def break_files(lab: Lab, out: Path) -> Iterator[Record]:
    """Breaks each file of the newest step in each way, restores, and puts it back.

    `strict` has to refuse it; without it the step before is taken, with one line for the damage
    that names the step. What leaves a file as it was is no trial.
    """
    folder = lab.copy_of_whole(out)
    like = _like(folder)
    for file, kind in itertools.product(step_files(folder), KINDS):
        with _broken(folder / file, kind) as changed:
            if not changed:
                continue
            lines: list[str] = []
            restored = CheckpointStore(folder, {}, lines.append).restore_latest(like)
            try:
                CheckpointStore(folder, {}, lines.append).restore_latest(like, strict=True)
                refused = False
            except CheckpointError:
                refused = True
        named = sum(f"step {LAST}" in line for line in lines)
        ok = (restored.step, named, refused) == (LAST - 2, 1, True)
        yield {"file": _kind(file), "kind": kind, "ok": ok}


def break_pointers(lab: Lab, out: Path) -> Iterator[Record]:
    """Breaks each pointer in each way, restores, and puts it back.

    The newest step has to be restored to its bytes all the same, by `strict` too and without a
    line, and the pointer must not name another step than it did.
    """
    folder = lab.copy_of_whole(out)
    like, stored = _like(folder), digests(folder)
    best = CheckpointStore(folder, {}).best_step()
    for name, kind in itertools.product(POINTERS, KINDS):
        with _broken(folder / name, kind) as changed:
            if not changed:
                continue
            lines: list[str] = []
            checkpoints = CheckpointStore(folder, {}, lines.append)
            found = [checkpoints.restore_latest(like, strict=strict) for strict in (False, True)]
            named = checkpoints.best_step()
        newest = all(x.step == LAST and _digests(x.tree) == stored for x in found)
        yield {
            "file": name,
            "kind": kind,
            "ok": newest and not lines and named in (best, None),
        }


def break_and_resume(lab: Lab, out: Path, file: Path, kind: str) -> Record:
    """The same for one file by real processes: `--strict` first, then `rnnlab resume`."""
    folder = lab.copy_of_whole(out)
    _break(folder / file, kind)
    strict = lab.resume(out, "--strict")
    resumed = lab.resume(out)
    return {
        "strict": strict.code,
        "strict_lines": strict.err.count("rnnlab: error"),
        "code": resumed.code,
        "warned": resumed.err.count(f"step {LAST} is corrupt"),
        "kept": (folder / "corrupt" / str(LAST)).is_dir(),
        "same": resumed.code == 0 and lab.same_end(out),
    }


@contextmanager
def _broken(path: Path, kind: str) -> Iterator[bool]:
    """Breaks a file for a while; False where that leaves its bytes as they are."""
    before = path.read_bytes()
    try:
        yield _break(path, kind)
    finally:
        path.write_bytes(before)


def _break(path: Path, kind: str) -> bool:
    """Breaks a file; False where that leaves its bytes as they are."""
    before = path.read_bytes()
    if kind == "deleted":
        path.unlink()
        return True
    after = {
        "empty": b"",
        "half": before[: len(before) // 2],
        "almost": before[: len(before) * 99 // 100],
        "garbage": bytes(random.Random(0).randbytes(max(8, len(before)))),
    }[kind]
    path.write_bytes(after)
    return after != before


def _like(folder: Path) -> dict[str, np.ndarray]:
    """Arrays of the shapes that a run's newest step has, by their paths."""
    leaves = manifest.read_verified_manifest(folder / "checkpoints" / str(LAST)).leaves
    return {name: np.zeros(leaf["shape"], leaf["dtype"]) for name, leaf in leaves.items()}


def _digests(tree: dict[str, np.ndarray]) -> dict[str, str]:
    found = {name: manifest.digest(np.asarray(x)) for name, x in jax.device_get(tree).items()}
    return {name: x for name, x in found.items() if "seconds" not in name}


def _kind(file: Path) -> str:
    """What a file is, without the names that orbax draws."""
    return "array data" if file.parent.name == "d" else file.name
