"""Checkpoints of a run: one directory per step, written by Orbax, and pointers to two of them.

The directory of a step appears under its name only when it is complete, and is never written to
again. Checkpoints that are moved out of the way stay in the run's directory.
"""

import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from rnnlab import legacy_names
from rnnlab.atomic_io import TMP_SUFFIX, fsync, mkdir_durable, read_json, write_json
from rnnlab.errors import CheckpointError, CorruptCheckpointError, InsufficientResourcesError
from rnnlab.runs.checkpoints import manifest
from rnnlab.runs.checkpoints.compatibility import require_same_leaves, require_same_settings
from rnnlab.runs.checkpoints.leaves import as_leaf, flatten
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
        if not self.directory.is_dir():
            return []
        found = (p for p in self.directory.iterdir() if STEP_NAME.fullmatch(p.name))
        return sorted(int(p.name) for p in found if p.is_dir() and not p.is_symlink())

    def remove_stale_tmp(self) -> None:
        """Removes what a killed process left behind. Call it only while holding the run's lock."""
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
            leaves = flatten(tree)
            require_disk(self.directory, sum(x.nbytes for x in leaves.values()), f"step {step}")
            _, failure = call_quietly(
                lambda: self._write(tmp, leaves), lambda: remove_persistently(tmp)
            )
            if failure:
                message = f"step {step} could not be saved in {self.directory}: {failure.reason}"
                if failure.out_of_resources:
                    raise InsufficientResourcesError(
                        f"{message}; free disk space, then run `rnnlab resume`"
                    )
                raise RuntimeError(message)
            tmp.rename(target)
            fsync(self.directory)
        write_json(self.latest_path, {"step": step})
        if best:
            self.set_best(step)
        self._prune()

    def best_step(self) -> int | None:
        """Returns the step that was last set as the best; None without one."""
        return _step_in(self.best_path)

    def set_best(self, step: int) -> None:
        """Points `best.json` to a step."""
        write_json(self.best_path, {"step": step})

    def restore_latest(self, template: Any, *, strict: bool = False) -> Checkpoint | None:
        """Restores the newest valid checkpoint; returns None without any.

        Corrupt newer checkpoints are named in warnings; `strict` raises instead.

        Raises:
          CheckpointError: no checkpoint is valid, or the newest one belongs to another model or
            other settings.
        """
        while True:
            # Before listing the steps: another process writes the pointer after its step.
            latest = _step_in(self.latest_path)
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
                    if not self.path(step).exists():
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
        path = self.path(step)
        if step not in self.saved_steps():
            existing = ", ".join(map(str, self.saved_steps())) or "none"
            raise CheckpointError(
                f"step {step} must be one of the checkpoints in {self.directory}, which are: "
                f"{existing}; choose another step"
            )
        listed, wanted = manifest.read_verified_manifest(path), flatten(template)
        require_same_leaves(listed.leaves, wanted, path)
        require_same_settings(listed.metadata, self.metadata, path)
        stored = self._load(path, listed, wanted)
        manifest.verify_leaves(path, listed, stored)
        leaves, treedef = jax.tree.flatten(template)
        arrays = [stored[name] for name in wanted]
        tree = treedef.unflatten([as_leaf(x, leaf) for x, leaf in zip(arrays, leaves, strict=True)])
        return Checkpoint(step, tree, listed.metadata)

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
        later = [saved for saved in self.saved_steps() if saved > step]
        # From the last one on: a process killed in between resumes from a step that remains.
        for saved in reversed(later):
            self.move_away(self.path(saved), archive_dir)
        if later:
            write_json(self.latest_path, {"step": step})
        return later

    def move_away(self, path: Path, archive_dir: str) -> None:
        """Moves a file or directory of the run into a subdirectory without replacing anything."""
        directory = self.directory.parent / archive_dir
        mkdir_durable(directory)
        target, number = directory / path.name, 1
        while target.exists():
            number += 1
            target = directory / f"{path.name}.{number}"
        path.rename(target)
        fsync(directory)
        fsync(path.parent)

    def _write(self, tmp: Path, leaves: Mapping[str, np.ndarray]) -> None:
        shutil.rmtree(tmp, ignore_errors=True)
        mkdir_durable(tmp)
        ocp.save((tmp / "state").absolute(), dict(leaves))
        manifest.write_manifest(tmp, leaves, self.metadata)
        for path in sorted(tmp.rglob("*")):
            fsync(path)
        fsync(tmp)

    def _load(
        self, path: Path, listed: Manifest, wanted: Mapping[str, np.ndarray] | None
    ) -> dict[str, np.ndarray]:
        """Returns the arrays of a checkpoint whose files are valid, by their current paths."""
        template = None
        if wanted is not None:
            template = {listed.stored_paths[name]: x for name, x in wanted.items()}
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
