"""Find the directory of a run from a path that a user names."""

import os
from contextlib import suppress
from pathlib import Path

from rnnlab.errors import CheckpointError

LATEST = "latest"
"""Name of the link to the directory of the runs that were started last."""


def find_run(path: Path) -> Path:
    """Returns a run's directory: `path` itself, or the only run directly below it.

    Any other path is returned unchanged: opening it raises an error that names it.

    Raises:
      CheckpointError: there are several runs below it.
    """
    runs = runs_below(path)
    if len(runs) > 1:
        names = ", ".join(run.name for run in runs)
        unfinished = (run for run in runs if not os.path.exists(run / "result.json"))
        example = next(unfinished, runs[0])
        raise CheckpointError(
            f"{path} contains {len(runs)} runs: {names}; name one of them, as in {example}"
        )
    return runs[0] if runs else path


def runs_below(path: Path) -> list[Path]:
    """Returns the runs directly below a directory; none if it is a run itself or does not exist."""
    if os.path.isfile(path / "config.json") or not os.path.isdir(path):
        return []
    return sorted(file.parent for file in path.glob("*/config.json"))


def link_latest(out: Path) -> None:
    """Makes `latest`, next to the experiments' directories, a link to the runs in `out`.

    `out` is runs/EXPERIMENT/TIME. Where links are not supported or the name is taken by something
    else, nothing is changed.
    """
    folder = out.parent.parent
    link, target = folder / LATEST, out.relative_to(folder)
    if link.exists() and not link.is_symlink():
        return
    temporary = folder / f".{LATEST}.{os.getpid()}"
    # pathlib raises NotImplementedError on a platform without links.
    with suppress(OSError, NotImplementedError):
        temporary.symlink_to(target, target_is_directory=True)
        os.replace(temporary, link)
