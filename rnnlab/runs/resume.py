"""Where a sitting takes up a run, and what it moves out of its way."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnlab.errors import CorruptCheckpointError
from rnnlab.runs.checkpoints import manifest
from rnnlab.runs.checkpoints.store import CheckpointStore, Restored
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.train.loop_state import LoopState
from rnnlab.runs.resume_policy import ResumePolicy


def taken_up(
    folder: RunDirectory,
    checkpoints: CheckpointStore,
    like: Any,
    sitting: ResumePolicy,
    say: Callable[[str], None],
) -> Restored | None:
    """What a sitting goes on from, with no later step left in its way; None is the beginning.

    Args:
      folder: the run's, whose lock is held.
      checkpoints: its.
      like: the tree that is wanted.
      sitting: says which step is taken, and what may differ.
      say: called with lines for the reader.

    Raises:
      CheckpointError: no step can be gone on from.
      DataError: the metrics cannot be read, which is better known before the work than after it.
    """
    if sitting.resumed:
        folder.logged()
    checkpoints.clean()
    back = sitting.from_step
    if back is None:
        restored = checkpoints.newest(like, strict=sitting.strict)
    else:
        restored = checkpoints.restore(back, like)
    if restored is not None:
        sitting.check(restored.about, checkpoints.about)
        into = "damaged" if back is None else "retired"
        if folder.result.exists():
            checkpoints.put_away(folder.result, into)
        for moved in checkpoints.retire(restored.step, into):
            say(f"step {moved} was moved to {folder.path / into}")
    elif sitting.resumed:
        say(f"{folder.path} holds no checkpoint; starting from step 0")
    if sitting.resumed:
        step = 0 if restored is None else restored.step
        names = "device", "processor", "cores", "versions"
        on = {name: checkpoints.about[name] for name in names}
        folder.log({"step": step, "resumed_from": step, **on})
    return restored


def best_is_kept(
    checkpoints: CheckpointStore, step: int, progress: LoopState, say: Callable[[str], None]
) -> bool:
    """Whether the best step so far is there still. It is named the best then, else put away."""
    best = int(progress.best_step)
    # A process that was killed after an evaluation may have found this step better than it holds.
    found_better = checkpoints.best_step() == step != int(progress.evaluated)
    if found_better or not np.isfinite(progress.best):
        return True
    state = checkpoints.folder / str(best)
    try:
        manifest.opened(state)
    except CorruptCheckpointError as error:
        if state.exists():
            checkpoints.put_away(state, "damaged")
        say(
            f"rnnlab: warning: the best step so far, {best}, is lost: {error}; the best of those "
            "from here on is taken"
        )
        return False
    checkpoints.mark_best(best)
    return True
