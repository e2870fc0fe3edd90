"""The parameters that a run is judged by, read back."""

import warnings
from typing import Any

from rnnlab.errors import (CheckpointError, DamagedError)
from rnnlab.models import SequenceModel
from rnnlab.records import Row
from rnnlab.runs.checkpoints.store import Checkpoints
from rnnlab.runs.run_dir import RunFolder
from rnnlab.train.loop_state import Progress
from rnnlab.train.config import Training
from rnnlab.train.step import (TrainState, initial_state)


def load_best(
    folder: RunFolder,
    about: Row,
    model: SequenceModel,
    settings: Training,
    carry: Any,
    *,
    strict: bool = False,
) -> Any:
    """The parameters of a run's best step, or of its newest sound one where that is damaged.

    `carry` is () unless the run's data is stateful. `strict` refuses a damaged step instead.

    Raises:
      CheckpointError: no checkpoint has been written or is sound, or it does not fit the model.
    """
    checkpoints = Checkpoints(folder.path, about, warnings.warn)
    like = {"state": initial_state(model, settings, carry), "progress": Progress.fresh(0.0)}
    best = checkpoints.best_step()
    try:
        if best is None:
            raise DamagedError(f"{checkpoints.best} names no step")
        return checkpoints.restore(best, like).tree["state"].params
    except CheckpointError as error:
        if checkpoints.best_step() != best:  # a writer has found a better one
            return load_best(folder, about, model, settings, carry, strict=strict)
        missing = best not in checkpoints.steps()
        if strict or not (missing or isinstance(error, DamagedError)):
            raise
        if best is not None and checkpoints.steps():
            warnings.warn(f"the best step, {best}, is damaged: {error}", stacklevel=2)
    restored = checkpoints.newest(like, strict=strict)
    if restored is None:
        raise CheckpointError(f"{folder.path} holds no checkpoint yet; train it first")
    state: TrainState = restored.tree["state"]
    return state.params
