"""One writer per run: an OS lock on its directory, released when the process exits.

Of several processes of a run only the first holds the lock; the others learn whether it does.
"""

import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rnnlab.atomic_io import lock, mkdir_durable, read_json, reject_symlinks
from rnnlab.errors import CheckpointError, RunLockedError
from rnnlab.parallel.agreement import from_first_process

LOCK_FILE = "run.lock"


@contextmanager
def lock_if_exists(run_dir: Path | None) -> Iterator[frozenset[Path]]:
    """Holds the lock of a directory that has a lock file; does nothing with any other.

    Yields the directories whose lock is held, for `lock_run`.

    Raises:
      RunLockedError: another process holds the lock.
    """
    if run_dir is None or not from_first_process(lambda: (run_dir / LOCK_FILE).is_file()):
        yield frozenset()
        return
    with lock_run(run_dir):
        yield frozenset({run_dir.resolve()})


def reject_duplicate_command(runs_dir: Path | None, command: Sequence[str]) -> None:
    """Raises if another process runs the same command in a run below `runs_dir`.

    Only an optimization: the target run is otherwise known only after JAX is imported.

    Raises:
      RunLockedError: the same command holds the lock of a run.
    """
    from_first_process(lambda: _reject_duplicate(runs_dir, command))


def _reject_duplicate(runs_dir: Path | None, command: Sequence[str]) -> None:
    if runs_dir is None or not os.path.isdir(runs_dir):  # False also where the name is too long
        return
    for path in runs_dir.glob(f"*/{LOCK_FILE}"):
        # Other locks are not tried: a process that wants one at that moment would be rejected.
        if _read_holder(path).get("command") == list(command):
            require_unlocked(path.parent)


def require_unlocked(run_dir: Path) -> None:
    """Raises if a process writes in a run's directory at this moment.

    Raises:
      RunLockedError: names the process.
    """
    path = run_dir / LOCK_FILE
    if not path.is_file():
        return
    with path.open("rb") as file:
        try:
            lock(file, shared=True, wait=False)
        except BlockingIOError:
            raise _locked_error(path) from None


@contextmanager
def lock_run(run_dir: Path, held_locks: frozenset[Path] = frozenset()) -> Iterator[None]:
    """Holds the lock of a run's directory, which is made if it does not exist.

    The file `run.lock` is left behind; only the lock on it counts, which ends with the process.

    Args:
      run_dir: the run's directory.
      held_locks: directories whose lock the caller holds.

    Raises:
      RunLockedError: another process, or this one, holds the lock already. The message names it.
      CheckpointError: the directory contains a symlink, which could redirect writes outside the
        run.
    """
    if run_dir.resolve() in held_locks:
        yield
        return
    with ExitStack() as stack:
        what = f"the lock of {run_dir}"
        from_first_process(lambda: stack.enter_context(_hold_lock(run_dir)), what)
        yield


@contextmanager
def _hold_lock(run_dir: Path) -> Iterator[None]:
    """Holds the lock of a run's directory in this process."""
    mkdir_durable(run_dir)
    reject_symlinks(run_dir)
    path = run_dir / LOCK_FILE
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} must be a file; move it away")
    with path.open("a+b", buffering=0) as file:
        try:
            lock(file, wait=False)
        except BlockingIOError:
            raise _locked_error(path) from None
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
            "command": sys.argv[1:],
        }
        with suppress(OSError):  # on a full disk the lock holds without the holder's name
            file.truncate(0)
            file.write(json.dumps(holder).encode())
        yield


def _read_holder(path: Path) -> dict[str, Any]:
    """Returns the content of a lock file; empty where the lock was acquired a moment ago."""
    try:
        return dict(read_json(path))
    except (OSError, ValueError, TypeError):
        return {}


def _locked_error(path: Path) -> RunLockedError:
    match _read_holder(path):
        case {"pid": pid, "host": host, "started": started}:
            holder = f"process {pid} on {host}, started {started}"
        case _:
            holder = "another process"
    return RunLockedError(f"{path.parent} is locked by {holder}; wait for it or stop it")
