"""The directory where commands write their files by default."""

from pathlib import Path

from rnnlab.atomic_io import reject_symlinks
from rnnlab.bundle import is_bundle


def default_directory(folder: Path) -> Path:
    """Returns the directory for the files about a run, or about a bundle.

    It is that of the run. A bundle has no other files than its own: of one it is the working
    directory.

    Raises:
      CheckpointError: the run's directory contains a symlink.
    """
    if is_bundle(folder):
        return Path()
    reject_symlinks(folder)
    return folder
