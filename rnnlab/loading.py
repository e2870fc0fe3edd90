"""Load what rnnlab has written, by its path."""

from pathlib import Path
from typing import TYPE_CHECKING

from flax import nnx

from rnnlab.errors import CheckpointError
from rnnlab.models.saving import load_model

if TYPE_CHECKING:
    from rnnlab.runs.trained_model import TrainedModel


def load(path: str | Path, *, strict: bool = False) -> "nnx.Module | TrainedModel":
    """Returns a module that `rnnlab.save` has written, or the model of a run or a bundle.

    Args:
      path: a file of `rnnlab.save`; or a run directory, or a directory that contains only one run,
        such as `runs/latest`; or a bundle.
      strict: of a run: fail if the best checkpoint is corrupt instead of using the latest valid
        one.

    Raises:
      CheckpointError: there is no such file, run or bundle, or it is corrupt.
      ValueError: a class of the module cannot be imported, or has changed.

    >>> load("none.npz")
    Traceback (most recent call last):
    rnnlab.errors.CheckpointError: none.npz must be a saved module, a run directory or a ...
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(
            f"{path} must be a saved module, a run directory or a bundle, got none of them; "
            "correct the path"
        )
    return load_trained(path, strict=strict) if path.is_dir() else load_model(path)


def load_trained(path: Path, *, strict: bool = False) -> "TrainedModel":
    """Returns the trained model of a run or a bundle.

    Raises:
      CheckpointError: the directory has neither, or it is corrupt.
    """
    from rnnlab.bundle import is_bundle, open_bundle  # with all of training: not above
    from rnnlab.runs.trained_model import load as load_run

    return open_bundle(path).trained_model() if is_bundle(path) else load_run(path, strict=strict)
