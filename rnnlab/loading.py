"""Load what rnnlab has written, by its path."""

from pathlib import Path
from typing import Any

from rnnlab.models.saving import load_model


def load(path: str | Path) -> Any:
    """Returns the module that `rnnlab.save` has written to a file.

    Args:
      path: the file.

    Raises:
      CheckpointError: the file does not exist, is not a saved module, or is corrupt.
      ValueError: a class of the module cannot be imported, or has changed.

    >>> load("none.npz")
    Traceback (most recent call last):
    rnnlab.errors.CheckpointError: none.npz must be a file written by rnnlab.save, got no file
    """
    return load_model(path)
