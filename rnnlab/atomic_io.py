"""Small files that are there whole or not at all, on the disk when the call returns."""

import errno
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rnnlab.errors import CheckpointError, InsufficientResourcesError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LARGEST = 64 << 20
"""The most bytes of JSON that are parsed."""

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Errors for which less on the disk is the cure."""


def write_json(path: Path, value: Any) -> None:
    """Writes a file whole or not at all: beside it first, then in its place.

    A number that is not finite, which JSON has not, becomes null.

    Raises:
      ResourceError: it could not be written; what was there before is there still.
    """
    beside = path.with_name(path.name + ".new")
    with writing(path):
        try:
            with beside.open("w", encoding="utf-8") as file:
                json.dump(finite(value), file, indent=2, allow_nan=False)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        sync(path.parent)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says of which file it is that the system could not write something, and what to do.

    Raises:
      ResourceError: for every OSError within it.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        advice = "make room for it" if error.errno in NO_ROOM else "choose another place for it"
        raise InsufficientResourcesError(
            f"{path} could not be written: {reason}; {advice}"
        ) from error


def refuse_links(folder: Path) -> None:
    """Refuses to write into a folder with a link in it, by which files elsewhere would change.

    Raises:
      CheckpointError: names the link.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_symlink():
            raise CheckpointError(
                f"{path} is a link, which a run is not written through; bring in what it points to"
            )


def make_folder(path: Path) -> None:
    """Makes a folder and those around it, with their names on the disk."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)


def lock(file: IO, *, shared: bool = False, wait: bool = True) -> None:
    """Takes a lock on an open file, which ends when it is closed, or with the process.

    Where the system has no such locks it does nothing.

    Raises:
      BlockingIOError: another has it, and `wait` is False.
    """
    if fcntl is not None:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
      OSError: it is not there.
      ValueError: it is not JSON, or larger than any that rnnlab writes; names the file.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file")
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{path} has {size} bytes; at most {LARGEST} are read")
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None


def finite(value: Any) -> Any:
    """JSON values with null for what is no finite number.

    >>> finite({"a": [1.0, float("nan")]})
    {'a': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: finite(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [finite(x) for x in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} is there twice")
        found[name] = value
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def sync(path: Path) -> None:
    """Has a file's bytes, or a folder's list of names, put on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
