"""Checkpoints of a run: one directory per step, written by Orbax, and pointers to two of them.

The directory of a step appears under its name only when it is complete, and is never written to
again. Checkpoints that are moved out of the way stay in the run's directory.

Several processes of a run write a checkpoint together: each its part of the arrays and its digests.
The first one does everything else; what it finds, the others learn from it.
"""

import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from orbax.checkpoint import v1 as ocp

from rnnlab import legacy_names
from rnnlab.atomic_io import TMP_SUFFIX, fsync, mkdir_durable, read_json, write_json
from rnnlab.errors import CheckpointError, CorruptCheckpointError, InsufficientResourcesError
from rnnlab.parallel.agreement import from_first_process, gather, succeed_together
from rnnlab.parallel.processes import process_count, process_index
from rnnlab.runs.checkpoints import manifest
from rnnlab.runs.checkpoints.compatibility import require_same_leaves, require_same_settings
from rnnlab.runs.checkpoints.leaves import abstract, as_leaf, flatten
from rnnlab.runs.checkpoints.manifest import Manifest, Metadata
from rnnlab.runs.checkpoints.orbax_io import call_quietly, remove_persistently
from rnnlab.runs.resources import require_disk

KEEP_LATEST = 2
"""Number of latest checkpoints that are kept; the best one is kept as well."""

STEP_NAME = re.compile(r"0|[1-9][0-9]{0,17}")
TRASH_SUFFIX = ".trash"
"""Suffix of a checkpoint that is being deleted."""


class Checkpoint(NamedTuple):
    """A restored checkpoint.

    Attributes:
      step: training step of this checkpoint.
      tree: the stored arrays in the structure of the template.
      metadata: what the state belongs to, as it was saved.
    """

    step: int
    tree: Any
    metadata: Metadata


class CheckpointStore:
    """Saves and restores trees of arrays by step. Keeps the two latest and the best step.

    A tree is stored flat, one leaf per path, so that files do not depend on the tree's classes;
    typed random keys are stored as their integers. `restore` takes a template of the tree to
    restore.

    Args:
      run_dir: the run's directory.
      metadata: what its states belong to, stored with each: plain JSON values.
      warn: called with a line for the reader; by default it issues a Python warning.
    """

    def __init__(
        self,
        run_dir: Path,
        metadata: Metadata,
        warn: Callable[[str], None] = warnings.warn,
    ):
        self.directory = run_dir / "checkpoints"
        self.best_path, self.latest_path = run_dir / "best.json", run_dir / "latest.json"
        self.metadata, self._warn = metadata, warn

    def path(self, step: int) -> Path:
        """Returns the directory of a step."""
        return self.directory / str(step)

    def saved_steps(self) -> list[int]:
        """Returns the sorted checkpoint steps; other directory entries are ignored."""
        return from_first_process(self._list_steps, "the list of checkpoints")

    def _list_steps(self) -> list[int]:
        if not self.directory.is_dir():
            return []
        found = (p for p in self.directory.iterdir() if STEP_NAME.fullmatch(p.name))
        return sorted(int(p.name) for p in found if p.is_dir() and not p.is_symlink())

    def remove_stale_tmp(self) -> None:
        """Removes what a killed process left behind. Call it only while holding the run's lock."""
        from_first_process(self._remove_stale_tmp, "the removal of unfinished files")

    def _remove_stale_tmp(self) -> None:
        suffixes = (TMP_SUFFIX, TRASH_SUFFIX, *legacy_names.TMP_SUFFIXES)
        stale = [path for suffix in suffixes for path in self.directory.glob(f"*{suffix}")]
        for suffix in suffixes:
            stale += self.directory.parent.glob(f"*.json{suffix}")
        for path in stale:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def save(self, step: int, tree: Any, *, best: bool) -> None:
        """Saves a step's tree and returns when it is on disk. An existing step is left unchanged.

        Raises:
          CheckpointError: something that is not a checkpoint has the step's name.
          InsufficientResourcesError: the disk is full; every earlier file is unchanged.
        """
        target, tmp = self.path(step), self.directory / f"{step}{TMP_SUFFIX}"
        if step not in self.saved_steps():
            if os.path.lexists(target):
                raise CheckpointError(
                    f"{target} exists but is not a checkpoint; move it, then run `rnnlab resume`"
                )
            self._save_new(step, flatten(tree), target, tmp)
        from_first_process(lambda: self._point_to(step, best), "the pointers")

    def _save_new(self, step: int, leaves: Mapping[str, Any], target: Path, tmp: Path) -> None:
        """Saves a step that does not exist: all processes write, the first one names it."""
        size = sum(x.nbytes for x in leaves.values())
        from_first_process(lambda: self._make_room(tmp, size, f"step {step}"), "the disk space")
        failure_of = self._failure_of_save(step, tmp)
        described = manifest.describe_leaves(leaves, is_shared=process_count() > 1)
        succeed_together(
            lambda: failure_of(lambda: ocp.save((tmp / "state").absolute(), dict(leaves))),
            f"the save of step {step}",
        )
        own = succeed_together(
            lambda: failure_of(lambda: self._finish_files(tmp)), f"the digests of step {step}"
        )
        files = {name: sha for part in gather(own, "the digests") for name, sha in part.items()}

        def commit() -> None:
            failure_of(lambda: manifest.write_manifest(tmp, described, self.metadata, files))
            for path in sorted((tmp, *tmp.rglob("*"))):
                if path.is_dir() or path.name == manifest.MANIFEST_FILE:
                    fsync(path)
            tmp.rename(target)
            fsync(self.directory)

        from_first_process(commit, f"the manifest of step {step}")

    def _failure_of_save(self, step: int, tmp: Path) -> Callable[[Callable[[], Any]], Any]:
        """Returns a function that calls another one and raises its failure as that of the save."""

        def cleanup() -> None:
            if process_index() == 0:
                remove_persistently(tmp)

        def attempt(call: Callable[[], Any]) -> Any:
            result, failure = call_quietly(call, cleanup)
            if failure:
                message = f"step {step} could not be saved in {self.directory}: {failure.reason}"
                if failure.out_of_resources:
                    raise InsufficientResourcesError(
                        f"{message}; free disk space, then run `rnnlab resume`"
                    )
                raise RuntimeError(message)
            return result

        return attempt

    def _make_room(self, tmp: Path, size: int, what: str) -> None:
        require_disk(self.directory, size, what)
        shutil.rmtree(tmp, ignore_errors=True)
        mkdir_durable(tmp)

    def _finish_files(self, tmp: Path) -> dict[str, str]:
        """Flushes the files that this process wrote to disk; returns their digests."""
        files = manifest.digest_files(tmp, process_index(), process_count())
        for name in files:
            fsync(tmp / name)
        return files

    def _point_to(self, step: int, best: bool) -> None:
        write_json(self.latest_path, {"step": step})
        if best:
            self.set_best(step)
        self._prune()

    def best_step(self) -> int | None:
        """Returns the step that was last set as the best; None without one."""
        return from_first_process(lambda: _step_in(self.best_path), "the best step")

    def set_best(self, step: int) -> None:
        """Points `best.json` to a step."""
        from_first_process(lambda: write_json(self.best_path, {"step": step}), "the best step")

    def restore_latest(self, template: Any, *, strict: bool = False) -> Checkpoint | None:
        """Restores the newest valid checkpoint; returns None without any.

        Corrupt newer checkpoints are named in warnings; `strict` raises instead.

        Raises:
          CheckpointError: no checkpoint is valid, or the newest one belongs to another model or
            other settings.
        """
        while True:
            # Before listing the steps: another process writes the pointer after its step.
            latest = from_first_process(lambda: _step_in(self.latest_path), "the latest step")
            steps = self.saved_steps()
            if latest is not None and latest not in steps:
                missing = f"{self.path(latest)}, the latest checkpoint, is missing"
                if not steps:
                    raise CheckpointError(
                        f"{missing}, and there is no other; restore one from a backup"
                    )
                self._warn_or_raise(missing, strict)
            if not steps:
                return None
            reasons = []
            for step in reversed(steps):
                try:
                    checkpoint = self.restore(step, template)
                except CheckpointError as error:
                    if not from_first_process(self.path(step).exists):
                        continue  # another process has replaced it by a newer one
                    if not isinstance(error, CorruptCheckpointError):
                        raise
                    self._warn_or_raise(f"step {step} is corrupt: {error}", strict)
                    reasons.append(str(error))
                else:
                    if reasons or latest not in (None, step, *steps):
                        self._warn(f"resuming from step {step}, the newest valid checkpoint")
                    return checkpoint
            if reasons:
                raise CheckpointError(
                    f"{self.directory} must have a valid checkpoint, and has none: {reasons[0]}; "
                    "restore the files from a backup, or start a new run"
                )
            # Another process has replaced all of them: list the steps again.

    def restore(self, step: int, template: Any) -> Checkpoint:
        """Restores a step's tree in the structure of `template`, with its shapes and dtypes.

        Raises:
          CorruptCheckpointError: a file differs from what was written.
          CheckpointError: the step does not exist, a leaf is missing, unknown or of another shape
            or dtype, or the checkpoint belongs to other settings; nothing is loaded.
        """
        path, steps = self.path(step), self.saved_steps()
        if step not in steps:
            existing = ", ".join(map(str, steps)) or "none"
            raise CheckpointError(
                f"step {step} must be one of the checkpoints in {self.directory}, which are: "
                f"{existing}; choose another step"
            )
        listed, wanted = self.read_manifest(step), flatten(template)
        require_same_leaves(listed.leaves, wanted, path)
        require_same_settings(listed.metadata, self.metadata, path)
        stored = succeed_together(lambda: self._load(path, listed, wanted), f"step {step}")
        succeed_together(lambda: manifest.verify_leaves(path, listed, stored), f"step {step}")
        leaves, treedef = jax.tree.flatten(template)
        arrays = [stored[name] for name in wanted]
        tree = treedef.unflatten([as_leaf(x, leaf) for x, leaf in zip(arrays, leaves, strict=True)])
        return Checkpoint(step, tree, listed.metadata)

    def read_manifest(self, step: int) -> Manifest:
        """Returns a step's manifest, after all its files were verified by all processes together.

        Raises:
          CorruptCheckpointError: a file is missing or differs from what was written; names it.
          CheckpointError: a later rnnlab wrote the checkpoint.
        """
        place = process_index(), process_count()
        read = manifest.read_verified_manifest
        return succeed_together(lambda: read(self.path(step), *place), f"the files of step {step}")

    def verify(self, step: int) -> None:
        """Reads a whole checkpoint and compares all digests and the settings.

        Raises:
          CheckpointError: it is corrupt, cannot be read, or belongs to other settings.
        """
        path = self.path(step)
        listed = manifest.read_verified_manifest(path)
        require_same_settings(listed.metadata, self.metadata, path)
        manifest.verify_leaves(path, listed, self._load(path, listed, None))

    def archive_after(self, step: int, archive_dir: str) -> list[int]:
        """Moves the checkpoints after a step into a subdirectory; returns their steps."""
        return from_first_process(lambda: self._archive_after(step, archive_dir), "the archive")

    def _archive_after(self, step: int, archive_dir: str) -> list[int]:
        later = [saved for saved in self.saved_steps() if saved > step]
        # From the last one on: a process killed in between resumes from a step that remains.
        for saved in reversed(later):
            self.move_away(self.path(saved), archive_dir)
        if later:
            write_json(self.latest_path, {"step": step})
        return later

    def move_away(self, path: Path, archive_dir: str) -> None:
        """Moves a file or directory of the run into a subdirectory without replacing anything."""
        from_first_process(lambda: self._move_away(path, archive_dir), "the archive")

    def _move_away(self, path: Path, archive_dir: str) -> None:
        directory = self.directory.parent / archive_dir
        mkdir_durable(directory)
        target, number = directory / path.name, 1
        while target.exists():
            number += 1
            target = directory / f"{path.name}.{number}"
        path.rename(target)
        fsync(directory)
        fsync(path.parent)

    def _load(
        self, path: Path, listed: Manifest, wanted: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """Returns the arrays of a checkpoint whose files are valid, by their current paths."""
        template = None
        if wanted is not None:
            template = {listed.stored_paths[name]: abstract(x) for name, x in wanted.items()}
        stored, failure = call_quietly(lambda: ocp.load((path / "state").absolute(), template))
        if failure:
            resources = failure.out_of_resources
            kind = InsufficientResourcesError if resources else CheckpointError
            raise kind(f"{path} is valid but cannot be read: {failure.reason}; try again")
        return {legacy_names.current_leaf(name): x for name, x in stored.items()}

    def _warn_or_raise(self, line: str, strict: bool) -> None:
        if strict:
            raise CheckpointError(f"{line}; omit --strict to resume from an earlier step")
        self._warn(line)

    def _prune(self) -> None:
        """Deletes checkpoints that are neither among the latest nor the best."""
        for step in set(self.saved_steps()[:-KEEP_LATEST]) - {self.best_step()}:
            # Renamed first, so that a half-deleted checkpoint never has a step's name.
            trash = self.directory / f"{step}{TRASH_SUFFIX}"
            self.path(step).rename(trash)
            shutil.rmtree(trash)


def _step_in(pointer: Path) -> int | None:
    try:
        step = read_json(pointer)["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return step if isinstance(step, int) else None
