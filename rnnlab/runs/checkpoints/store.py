"""Checkpoints of a run: a folder a step, written by orbax, and small files that point at two.

A step's folder appears whole under its name, and is never written to again. What is moved out of
the way stays below the run's folder.
"""

import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from rnnlab.errors import CheckpointError, CorruptCheckpointError, InsufficientResourcesError
from rnnlab.atomic_io import make_folder, read_json, sync, write_json
from rnnlab.runs.checkpoints import manifest
from rnnlab.runs.checkpoints.orbax_io import attempt
from rnnlab.runs.checkpoints.compatibility import same_leaves, same_settings
from rnnlab.runs.resources import need_disk

KEPT = 2
STEP = re.compile(r"0|[1-9][0-9]{0,17}")


class Restored(NamedTuple):
    """A tree as it was stored.

    Attributes:
      step: of which it is.
      tree: in the structure that was asked for.
      about: what `CheckpointStore` was told when it was saved.
    """

    step: int
    tree: Any
    about: Mapping[str, Any]


class CheckpointStore:
    """Saves and restores trees of arrays by step. Keeps the two latest and the best step's.

    A tree is stored flat, a leaf under its path, so that a file says what it holds whatever the
    classes of the tree become; typed keys are stored as their words. The tree that `restore` is
    given says what is wanted back.

    Args:
      folder: the run's.
      about: what its states belong to, stored with each: plain JSON values.
      warn: called with a line for the reader; by default it is a Python warning.
    """

    def __init__(
        self,
        folder: Path,
        about: Mapping[str, Any],
        warn: Callable[[str], None] = warnings.warn,
    ):
        self.folder = folder / "checkpoints"
        self.best, self.latest = folder / "best.json", folder / "latest.json"
        self.about, self._warn = about, warn

    def steps(self) -> list[int]:
        """The steps on disk, in order. Whatever is not a folder with a number is none."""
        if not self.folder.is_dir():
            return []
        found = (p for p in self.folder.iterdir() if STEP.fullmatch(p.name))
        return sorted(int(p.name) for p in found if p.is_dir() and not p.is_symlink())

    def clean(self) -> None:
        """Removes what a killed process left behind. Call it under the run's lock alone."""
        left = [*self.folder.glob("*.new"), *self.folder.glob("*.old")]
        for path in [*left, *self.folder.parent.glob("*.json.new")]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def save(self, step: int, tree: Any, *, best: bool) -> None:
        """Writes a step's tree and returns when it is on disk. A step that is there is left as is.

        Raises:
          CheckpointError: something else has the step's name.
          ResourceError: there is no room; nothing that was there before is lost.
        """
        final, beside = self.folder / str(step), self.folder / f"{step}.new"
        if step not in self.steps():
            if os.path.lexists(final):
                raise CheckpointError(
                    f"{final} is no checkpoint, and has the name of one; move it away, then go on "
                    "with `rnnlab resume`"
                )
            leaves = _flat(tree)
            need_disk(self.folder, sum(x.nbytes for x in leaves.values()), f"step {step}")
            _, failure = attempt(lambda: self._write(beside, leaves), lambda: _remove(beside))
            if failure:
                said = f"step {step} could not be saved in {self.folder}: {failure.reason}"
                if failure.short:
                    raise InsufficientResourcesError(
                        f"{said}; make room, then go on with `rnnlab resume`"
                    )
                raise RuntimeError(said)
            beside.rename(final)
            sync(self.folder)
        write_json(self.latest, {"step": step})
        if best:
            self.mark_best(step)
        self._prune()

    def best_step(self) -> int | None:
        """The step that `save` was last told is the best; None if that is not known."""
        return _step_in(self.best)

    def mark_best(self, step: int) -> None:
        """Names the best step."""
        write_json(self.best, {"step": step})

    def newest(self, like: Any, *, strict: bool = False) -> Restored | None:
        """The newest step that is sound, None where there is no step at all.

        A damaged step that is newer is named in a warning. `strict` refuses it instead.

        Raises:
          CheckpointError: no step is sound, or the newest one is of another model or settings.
        """
        last = _step_in(self.latest)  # before the steps: a writer makes it after its step
        steps = self.steps()
        if last is not None and last not in steps:
            gone = f"{self.folder / str(last)}, the step saved last, is missing"
            if not steps:
                raise CheckpointError(f"{gone}, and so is every other; bring one back from a copy")
            self._say_or_refuse(gone, strict)
        reasons = []
        for step in reversed(steps):
            try:
                restored = self.restore(step, like)
            except CheckpointError as error:
                if not (self.folder / str(step)).exists():
                    continue  # a writer has replaced it by newer ones
                if not isinstance(error, CorruptCheckpointError):
                    raise
                self._say_or_refuse(f"step {step} is damaged: {error}", strict)
                reasons.append(str(error))
            else:
                if reasons or last not in (None, step, *steps):
                    self._warn(f"going on from step {step}, the newest that is sound")
                return restored
        if steps and not reasons:
            return self.newest(like, strict=strict)  # a writer has replaced all of them
        if reasons:
            raise CheckpointError(
                f"no step of {self.folder} is sound: {reasons[0]}; bring the files back from a "
                "copy, or start a new run"
            )
        return None

    def restore(self, step: int, like: Any) -> Restored:
        """A step's tree in the structure of `like`, whose leaves give shapes and dtypes.

        Raises:
          DamagedError: a file is not what was written.
          CheckpointError: the step is not there, a leaf is missing, unknown, or of another shape or
            dtype, or it belongs to other settings; nothing is loaded.
        """
        where = self.folder / str(step)
        if step not in self.steps():
            known = ", ".join(map(str, self.steps())) or "none"
            raise CheckpointError(f"{self.folder} holds no step {step}; its steps are: {known}")
        body, wanted = manifest.opened(where), _flat(like)
        same_leaves(body["leaves"], wanted, where)
        same_settings(body["about"], self.about, where)
        stored = self._load(where, wanted)
        manifest.check_leaves(where, body, stored)
        leaves, treedef = jax.tree.flatten(like)
        named = [stored[name] for name in wanted]
        tree = treedef.unflatten([_like(x, leaf) for x, leaf in zip(named, leaves, strict=True)])
        return Restored(step, tree, body["about"])

    def verify(self, step: int) -> None:
        """Reads a step whole, whatever it holds, and compares all digests and the settings.

        Raises:
          CheckpointError: it is damaged, cannot be read, or belongs to other settings.
        """
        where = self.folder / str(step)
        body = manifest.opened(where)
        same_settings(body["about"], self.about, where)
        manifest.check_leaves(where, body, self._load(where, None))

    def retire(self, after: int, into: str) -> list[int]:
        """Moves the steps after `after` out of the way, into a folder of the run; returns them."""
        later = [step for step in self.steps() if step > after]
        # From the last one on: whoever is killed in between goes on from a step that is left.
        for step in reversed(later):
            self.put_away(self.folder / str(step), into)
        if later:
            write_json(self.latest, {"step": after})
        return later

    def put_away(self, path: Path, into: str) -> None:
        """Moves something of the run's into a folder of it, where nothing is replaced."""
        target = self.folder.parent / into
        make_folder(target)
        place, number = target / path.name, 1
        while place.exists():
            number += 1
            place = target / f"{path.name}.{number}"
        path.rename(place)
        sync(target)
        sync(path.parent)

    def _write(self, beside: Path, leaves: Mapping[str, np.ndarray]) -> None:
        shutil.rmtree(beside, ignore_errors=True)
        make_folder(beside)
        ocp.save((beside / "state").absolute(), dict(leaves))
        manifest.seal(beside, leaves, self.about)
        for path in sorted(beside.rglob("*")):
            sync(path)
        sync(beside)

    def _load(self, where: Path, wanted: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        """The arrays of a step whose files are what was written."""
        stored, failure = attempt(lambda: ocp.load((where / "state").absolute(), wanted))
        if failure:
            kind = InsufficientResourcesError if failure.short else CheckpointError
            raise kind(f"{where} cannot be read, though it is sound: {failure.reason}; try again")
        return stored

    def _say_or_refuse(self, line: str, strict: bool) -> None:
        if strict:
            raise CheckpointError(f"{line}; leave out --strict to go on from an earlier step")
        self._warn(line)

    def _prune(self) -> None:
        """Removes steps that are neither among the latest nor the best: aside first, then away."""
        for step in set(self.steps()[:-KEPT]) - {self.best_step()}:
            aside = self.folder / f"{step}.old"
            (self.folder / str(step)).rename(aside)
            shutil.rmtree(aside)


def _remove(folder: Path) -> None:
    """Removes what a failed save left, into which others may be writing still for a while."""
    gone = 0
    for _ in range(40):
        gone = 0 if folder.exists() else gone + 1
        if gone == 6:
            return
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


def _step_in(pointer: Path) -> int | None:
    try:
        step = read_json(pointer)["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return step if isinstance(step, int) else None


def _flat(tree: Any) -> dict[str, np.ndarray]:
    """Host arrays by the leaves' paths."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(
            jax.random.key_data(x) if _is_key(x) else x
        )
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


def _like(x: np.ndarray, leaf: Any) -> Any:
    """A stored leaf as what it was: a typed key, a host array, or an array on the device."""
    if isinstance(leaf, np.ndarray):
        return x
    return jax.random.wrap_key_data(jnp.asarray(x)) if _is_key(leaf) else jnp.asarray(x)


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
