"""One writer a run: a lock on its folder that the system takes away from whoever dies."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rnnlab.errors import BusyError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


NAME = "run.lock"


@contextmanager
def locked_if_known(folder: Path | None) -> Iterator[frozenset[Path]]:
    """Holds the lock of a folder that has been locked before, and leaves any other as it is.

    Yields what is held, for `locked` to pass over.

    Raises:
      BusyError: another process holds it.
    """
    if folder is None or not (folder / NAME).is_file():
        yield frozenset()
        return
    with locked(folder):
        yield frozenset({folder.resolve()})


@contextmanager
def locked(folder: Path, held: frozenset[Path] = frozenset()) -> Iterator[None]:
    """Holds the lock of a run's folder, which is made if it is not there.

    The file `run.lock` stays behind; what counts is the lock on it, which ends with the process.
    The caller's own locks are in `held`.

    Raises:
      BusyError: another process holds it, or this one does already. The message names it.
    """
    if folder.resolve() in held:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    with path.open("a+", encoding="utf-8") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(
                    f"{folder} is written by {_holder(path)}; wait for it or stop it"
                ) from None
        file.truncate(0)
        started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        json.dump({"pid": os.getpid(), "host": socket.gethostname(), "started": started}, file)
        file.flush()
        yield


def _holder(path: Path) -> str:
    """Who wrote into a lock's file; nothing yet, where it was taken a moment ago."""
    try:
        by = json.loads(path.read_text(encoding="utf-8"))
        return f"process {by['pid']} on {by['host']}, since {by['started']}"
    except (OSError, ValueError, KeyError):
        return "another process"
