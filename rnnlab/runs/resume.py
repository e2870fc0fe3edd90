"""Restore the checkpoint a run resumes from and archive later ones; read the best parameters."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from rnnlab.errors import CheckpointError, CorruptCheckpointError
from rnnlab.models import SequenceModel
from rnnlab.parallel.agreement import from_first_process
from rnnlab.records import Record
from rnnlab.runs.checkpoints.store import Checkpoint, CheckpointStore
from rnnlab.runs.resume_policy import ResumePolicy
from rnnlab.runs.run_dir import ARCHIVE_DIR, CORRUPT_DIR, RunDirectory
from rnnlab.train.config import TrainConfig
from rnnlab.train.loop_state import LoopState
from rnnlab.train.step import initial_state


def restore_for_resume(
    run_dir: RunDirectory,
    store: CheckpointStore,
    template: Any,
    policy: ResumePolicy,
    log: Callable[[str], None],
) -> Checkpoint | None:
    """Restores the checkpoint to resume from; returns None to start at step 0.

    Later checkpoints, and the result of a finished run, are moved out of the way.

    Args:
      run_dir: the run's directory, whose lock is held.
      store: the run's checkpoints.
      template: a tree of the structure, shapes and dtypes to restore.
      policy: which step to restore, and what may differ from the process that saved it.
      log: called with lines for the reader.

    Raises:
      CheckpointError: the run cannot be resumed from any checkpoint.
      DataError: the metrics cannot be read, which is better known before training than after it.
    """
    if policy.is_resume:
        from_first_process(lambda: run_dir.read_metrics() and None, "the metrics")
    store.remove_stale_tmp()
    target_step = policy.from_step
    if target_step is None:
        checkpoint = store.restore_latest(template, strict=policy.strict)
    else:
        checkpoint = store.restore(target_step, template)
    if checkpoint is not None:
        policy.require_same_environment(checkpoint.metadata, store.metadata)
        archive_dir = CORRUPT_DIR if target_step is None else ARCHIVE_DIR
        if from_first_process(run_dir.result.exists):
            store.move_away(run_dir.result, archive_dir)
        for step in store.archive_after(checkpoint.step, archive_dir):
            log(f"moved step {step} to {run_dir.path / archive_dir}")
    elif policy.is_resume:
        log(f"{run_dir.path} has no checkpoint; starting from step 0")
    if policy.is_resume:
        step = 0 if checkpoint is None else checkpoint.step
        names = "device", "processor", "cores", "versions", "processes", "mesh"
        environment = {name: store.metadata[name] for name in names if name in store.metadata}
        record = {"step": step, "resumed_from": step, **environment}
        from_first_process(lambda: run_dir.append_metrics(record), "the metrics")
    return checkpoint


def recover_best(
    store: CheckpointStore, step: int, progress: LoopState, log: Callable[[str], None]
) -> bool:
    """Returns True and re-points `best.json` if the best checkpoint is valid; else quarantines it.

    Args:
      store: the run's checkpoints.
      step: the step that was restored.
      progress: the loop's state at that step.
      log: called with lines for the reader.
    """
    # If a process was killed right after an evaluation, `best.json` may be newer than the restored
    # loop state.
    best_is_newer = store.best_step() == step != int(progress.last_eval_step)
    if best_is_newer or not np.isfinite(progress.best_value):
        return True
    best = int(progress.best_step)
    path = store.path(best)
    try:
        store.read_manifest(best)
    except CorruptCheckpointError as error:
        if from_first_process(path.exists):
            store.move_away(path, CORRUPT_DIR)
        log(
            f"rnnlab: warning: the best checkpoint, step {best}, is corrupt: {error}; the best "
            "step is now chosen from later ones"
        )
        return False
    store.set_best(best)
    return True


def load_best_params(
    run_dir: RunDirectory,
    metadata: Record,
    model: SequenceModel,
    config: TrainConfig,
    carry: Any,
    *,
    strict: bool = False,
) -> Any:
    """Returns the parameters of a run's best step.

    Where that step is corrupt the newest valid one is used, with a warning.

    Args:
      run_dir: the run's directory.
      metadata: what the run's states belong to.
      model: a model of the run's architecture.
      config: how the run is trained.
      carry: the initial carry where the run's data is stateful; else ().
      strict: raise where the best step is corrupt.

    Raises:
      CheckpointError: no checkpoint is written yet or none is valid, or it does not fit the model.
    """
    store = CheckpointStore(run_dir.path, metadata, warnings.warn)
    template = {"state": initial_state(model, config, carry), "progress": LoopState.initial(0.0)}
    while True:
        best = store.best_step()
        try:
            if best is None:
                raise CorruptCheckpointError(f"{store.best_path} must name a step, and does not")
            return store.restore(best, template).tree["state"].params
        except CheckpointError as error:
            if store.best_step() != best:
                continue  # another process has saved a better step
            missing = best not in store.saved_steps()
            if strict or not (missing or isinstance(error, CorruptCheckpointError)):
                raise
            if best is not None and store.saved_steps():
                warnings.warn(f"the best step, {best}, is corrupt: {error}", stacklevel=2)
            break
    checkpoint = store.restore_latest(template, strict=strict)
    if checkpoint is None:
        raise CheckpointError(f"{run_dir.path} has no checkpoint yet; train it first")
    return checkpoint.tree["state"].params
