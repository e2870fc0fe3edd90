"""One writer a run: a lock on its folder that the system takes away from whoever dies."""

import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rnnlab.errors import RunLockedError, CheckpointError
from rnnlab.atomic_io import lock, make_folder, read_json, refuse_links

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


def refuse_twice(runs: Path | None, command: Sequence[str]) -> None:
    """Refuses a command that another process is busy with, in one of the folders below `runs`.

    It is a matter of speed alone, for which run a command will come to is known much later.

    Raises:
      BusyError: the same command holds the lock of a run.
    """
    if runs is None or not os.path.isdir(runs):  # False also where the name is too long
        return
    for path in runs.glob(f"*/{NAME}"):
        # No other lock is tried: who wants it in that moment would be refused.
        if _known(path).get("command") == list(command):
            refuse_written(path.parent)


def refuse_written(folder: Path) -> None:
    """Refuses to read what is changing.

    Raises:
      BusyError: a process writes in the run's folder at this moment; names it.
    """
    path = folder / NAME
    if not path.is_file():
        return
    with path.open("rb") as file:
        try:
            lock(file, shared=True, wait=False)
        except BlockingIOError:
            raise _busy(path) from None


@contextmanager
def locked(folder: Path, held: frozenset[Path] = frozenset()) -> Iterator[None]:
    """Holds the lock of a run's folder, which is made if it is not there.

    The file `run.lock` stays behind; what counts is the lock on it, which ends with the process.
    The caller's own locks are in `held`.

    Raises:
      BusyError: another process holds it, or this one does already. The message names it.
      CheckpointError: something in the folder is a link, by which a stranger's run would have files
        elsewhere written to.
    """
    if folder.resolve() in held:
        yield
        return
    make_folder(folder)
    refuse_links(folder)
    path = folder / NAME
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is no file; move it away")
    with path.open("a+b", buffering=0) as file:
        try:
            lock(file, wait=False)
        except BlockingIOError:
            raise _busy(path) from None
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
            "command": sys.argv[1:],
        }
        with suppress(OSError):  # on a full disk the lock counts without its note
            file.truncate(0)
            file.write(json.dumps(holder).encode())
        yield


def _known(path: Path) -> dict[str, Any]:
    """What is written in a lock's file; nothing yet, where it was taken a moment ago."""
    try:
        return dict(read_json(path))
    except (OSError, ValueError, TypeError):
        return {}


def _busy(path: Path) -> RunLockedError:
    match _known(path):
        case {"pid": pid, "host": host, "started": started}:
            holder = f"process {pid} on {host}, since {started}"
        case _:
            holder = "another process"
    return RunLockedError(f"{path.parent} is written by {holder}; wait for it or stop it")
