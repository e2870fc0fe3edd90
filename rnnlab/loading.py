"""Load what rnnlab has written, by its path."""

from pathlib import Path
from typing import TYPE_CHECKING

from flax import nnx

from rnnlab.errors import CheckpointError
from rnnlab.models.saving import load_model

if TYPE_CHECKING:
    from rnnlab.runs.trained_model import TrainedModel


def load(path: str | Path, *, strict: bool = False) -> "nnx.Module | TrainedModel":
    """Returns a module that `rnnlab.save` has written, or the trained model of a run.

    Args:
      path: a file of `rnnlab.save`; or a run directory, or a directory that contains only one run,
        such as `runs/latest`.
      strict: of a run: fail if the best checkpoint is corrupt instead of using the latest valid
        one.

    Raises:
      CheckpointError: there is no such file or run, or it is corrupt.
      ValueError: a class of the module cannot be imported, or has changed.

    >>> load("none.npz")
    Traceback (most recent call last):
    rnnlab.errors.CheckpointError: none.npz must be a saved module or a run directory, got neither
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path} must be a saved module or a run directory, got neither")
    if path.is_dir():
        from rnnlab.runs.trained_model import load as load_run  # with all of training: not above

        return load_run(path, strict=strict)
    return load_model(path)
