"""Files of a checkpoint that are truncated, deleted, replaced, or have one bit flipped."""

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np

from faults.harness import LAST_STEP, Lab, digests
from rnnlab.errors import CheckpointError
from rnnlab.records import Record
from rnnlab.runs.checkpoints import manifest
from rnnlab.runs.checkpoints.store import CheckpointStore

KINDS = ("empty", "half", "almost", "deleted", "garbage")
POINTERS = ("latest.json", "best.json")


def step_files(folder: Path) -> list[Path]:
    """The files of the newest step, relative to the run directory."""
    newest = folder / "checkpoints" / str(LAST_STEP)
    return [path.relative_to(folder) for path in sorted(newest.rglob("*")) if path.is_file()]


def flip_bits(lab: Lab, out: Path, trials: int, seed: int) -> Iterator[Record]:
    """Flips one random bit of one random file, restores the run, and flips the bit back.

    A flip is detected if a warning names the step, and harmless if the newest step is restored with
    exactly the stored bytes.
    """
    draw = random.Random(seed)
    folder = lab.copy_reference_without_result(out)
    stored = digests(folder)
    template = _template(folder)
    files = [*step_files(folder), *map(Path, POINTERS)]
    for _ in range(trials):
        # Weighted by size: every bit of the checkpoint is equally likely.
        sizes = [(folder / file).stat().st_size for file in files]
        file = draw.choices(files, sizes)[0]
        path = folder / file
        bytes_before = path.read_bytes()
        bit = draw.randrange(8 * len(bytes_before))
        flipped = bytearray(bytes_before)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        lines: list[str] = []
        try:
            restored = CheckpointStore(folder, {}, lines.append).restore_latest(template)
            same = restored.step == LAST_STEP and _digests(restored.tree) == stored
            detected = (
                restored.step < LAST_STEP and len(lines) == 2 and f"step {LAST_STEP}" in lines[0]
            )
        finally:
            path.write_bytes(bytes_before)
        yield {"file": _kind(file), "bit": bit, "detected": detected, "harmless": same}


def corrupt_files(lab: Lab, out: Path) -> Iterator[Record]:
    """Corrupts each file of the newest step in each way, restores the run, and repairs the file.

    With `strict` the restore must fail; without it the previous step is restored, with one line
    that names the corrupt step. A corruption that leaves the bytes as they are is not a trial.
    """
    folder = lab.copy_reference_without_result(out)
    template = _template(folder)
    for file, kind in itertools.product(step_files(folder), KINDS):
        with _corrupted(folder / file, kind) as changed:
            if not changed:
                continue
            lines: list[str] = []
            restored = CheckpointStore(folder, {}, lines.append).restore_latest(template)
            try:
                CheckpointStore(folder, {}, lines.append).restore_latest(template, strict=True)
                refused = False
            except CheckpointError:
                refused = True
        named = sum(f"step {LAST_STEP}" in line for line in lines)
        ok = (restored.step, named, refused) == (LAST_STEP - 2, 1, True)
        yield {"file": _kind(file), "kind": kind, "ok": ok}


def corrupt_pointers(lab: Lab, out: Path) -> Iterator[Record]:
    """Corrupts each pointer in each way, restores the run, and repairs the pointer.

    The newest step must still be restored to its bytes, with `strict` too and without a warning,
    and the pointer must not name another step than before.
    """
    folder = lab.copy_reference_without_result(out)
    template, stored = _template(folder), digests(folder)
    best = CheckpointStore(folder, {}).best_step()
    for name, kind in itertools.product(POINTERS, KINDS):
        with _corrupted(folder / name, kind) as changed:
            if not changed:
                continue
            lines: list[str] = []
            checkpoints = CheckpointStore(folder, {}, lines.append)
            found = [
                checkpoints.restore_latest(template, strict=strict) for strict in (False, True)
            ]
            named = checkpoints.best_step()
        newest = all(x.step == LAST_STEP and _digests(x.tree) == stored for x in found)
        yield {"file": name, "kind": kind, "ok": newest and not lines and named in (best, None)}


def corrupt_and_resume(lab: Lab, out: Path, file: Path, kind: str) -> Record:
    """Corrupts one file and runs two real processes: `resume --strict`, then `resume`."""
    folder = lab.copy_reference_without_result(out)
    _corrupt(folder / file, kind)
    strict = lab.resume(out, "--strict")
    resumed = lab.resume(out)
    return {
        "strict": strict.code,
        "strict_lines": strict.stderr.count("rnnlab: error"),
        "code": resumed.code,
        "warned": resumed.stderr.count(f"step {LAST_STEP} is corrupt"),
        "kept": (folder / "corrupt" / str(LAST_STEP)).is_dir(),
        "same": resumed.code == 0 and lab.matches_reference(out),
    }


@contextmanager
def _corrupted(path: Path, kind: str) -> Iterator[bool]:
    """Corrupts a file for a while. Yields False if that leaves its bytes as they are."""
    before = path.read_bytes()
    try:
        yield _corrupt(path, kind)
    finally:
        path.write_bytes(before)


def _corrupt(path: Path, kind: str) -> bool:
    """Corrupts a file. Returns False if that leaves its bytes as they are."""
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


def _template(folder: Path) -> dict[str, np.ndarray]:
    """Zeros with the paths, shapes and dtypes of the newest step's leaves."""
    leaves = manifest.read_verified_manifest(folder / "checkpoints" / str(LAST_STEP)).leaves
    return {name: np.zeros(leaf["shape"], leaf["dtype"]) for name, leaf in leaves.items()}


def _digests(tree: dict[str, np.ndarray]) -> dict[str, str]:
    found = {name: manifest.digest(np.asarray(x)) for name, x in jax.device_get(tree).items()}
    return {name: x for name, x in found.items() if "seconds" not in name}


def _kind(file: Path) -> str:
    """The kind of a file, without the random names that Orbax gives."""
    return "array data" if file.parent.name == "d" else file.name
