"""The parameters that a run is judged by, read back."""

import warnings
from typing import Any

from rnnlab.errors import CheckpointError, CorruptCheckpointError
from rnnlab.models import SequenceModel
from rnnlab.records import Record
from rnnlab.runs.checkpoints.store import CheckpointStore
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.train.loop_state import LoopState
from rnnlab.train.config import TrainConfig
from rnnlab.train.step import TrainState, initial_state


def load_best(
    folder: RunDirectory,
    about: Record,
    model: SequenceModel,
    settings: TrainConfig,
    carry: Any,
    *,
    strict: bool = False,
) -> Any:
    """The parameters of a run's best step, or of its newest sound one where that is damaged.

    `carry` is () unless the run's data is stateful. `strict` refuses a damaged step instead.

    Raises:
      CheckpointError: no checkpoint has been written or is sound, or it does not fit the model.
    """
    checkpoints = CheckpointStore(folder.path, about, warnings.warn)
    like = {"state": initial_state(model, settings, carry), "progress": LoopState.fresh(0.0)}
    best = checkpoints.best_step()
    try:
        if best is None:
            raise CorruptCheckpointError(f"{checkpoints.best} names no step")
        return checkpoints.restore(best, like).tree["state"].params
    except CheckpointError as error:
        if checkpoints.best_step() != best:  # a writer has found a better one
            return load_best(folder, about, model, settings, carry, strict=strict)
        missing = best not in checkpoints.steps()
        if strict or not (missing or isinstance(error, CorruptCheckpointError)):
            raise
        if best is not None and checkpoints.steps():
            warnings.warn(f"the best step, {best}, is damaged: {error}", stacklevel=2)
    restored = checkpoints.newest(like, strict=strict)
    if restored is None:
        raise CheckpointError(f"{folder.path} holds no checkpoint yet; train it first")
    state: TrainState = restored.tree["state"]
    return state.params
