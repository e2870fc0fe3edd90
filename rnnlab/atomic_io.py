"""Small files that are written completely or not at all, and are on disk when the call returns."""

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

MAX_JSON_BYTES = 64 << 20
"""Size of the largest JSON file that is parsed."""

TMP_SUFFIX = ".tmp"
"""Suffix of a file or directory that is being written."""

DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Errors that freeing disk space resolves."""


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file atomically, see `write_text`.

    NaN and infinite numbers, which JSON lacks, become null.

    Raises:
      InsufficientResourcesError: it could not be written; the previous content is unchanged.
    """
    write_text(path, json.dumps(nonfinite_to_null(value), indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file atomically, see `write_bytes`.

    Raises:
      InsufficientResourcesError: it could not be written; the previous content is unchanged.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically, see `open_atomic`.

    Raises:
      InsufficientResourcesError: it could not be written; the previous content is unchanged.
    """
    with open_atomic(path) as file:
        file.write(content)


@contextmanager
def open_atomic(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file for writing, which replaces `path` if the block raises no error.

    Raises:
      InsufficientResourcesError: it could not be written; the previous content is unchanged.
    """
    tmp = path.with_name(path.name + TMP_SUFFIX)
    with raise_resource_errors(path):
        try:
            with tmp.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            tmp.replace(path)
        except BaseException:
            tmp.unlink(missing_ok=True)
            raise
        fsync(path.parent)


@contextmanager
def raise_resource_errors(path: Path) -> Iterator[None]:
    """Re-raises OSError as InsufficientResourcesError naming the file and a remedy."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise InsufficientResourcesError(
            f"{path} could not be written: {reason}; {disk_advice(error)}"
        ) from error


def disk_advice(error: OSError) -> str:
    """Returns what to do about a failed write."""
    if error.errno in DISK_FULL_ERRNOS:
        return "free disk space"
    return "add a file name" if error.errno == errno.EISDIR else "choose another directory"


def reject_symlinks(directory: Path) -> None:
    """Raises if a directory contains a symlink, through which other files would be written.

    Raises:
      CheckpointError: names the symlink.
    """
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.is_symlink():
            raise CheckpointError(
                f"{path} must not be a symlink in a run's directory; replace it by its target"
            )


def mkdir_durable(path: Path) -> None:
    """Makes a directory and its parents, with their names on disk."""
    if not path.is_dir():
        mkdir_durable(path.parent)
        path.mkdir(exist_ok=True)
        fsync(path.parent)


def lock(file: IO, *, shared: bool = False, wait: bool = True) -> None:
    """Locks an open file until it is closed or the process exits.

    Does nothing on systems without such locks.

    Raises:
      BlockingIOError: another process holds the lock, and `wait` is False.
    """
    if fcntl is not None:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file.

    Raises:
      OSError: the file does not exist.
      ValueError: it is not JSON, or larger than any file that rnnlab writes; names the file.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file")
    size = path.stat().st_size
    if size > MAX_JSON_BYTES:
        raise ValueError(f"{path} must have at most {MAX_JSON_BYTES} bytes, got {size}")
    return parse_json(path.read_bytes(), path)


def parse_json(content: bytes, path: Path | str) -> Any:
    """Returns the value of JSON in UTF-8, whose keys are unique and whose numbers are finite.

    Args:
      content: the bytes.
      path: where they are from, for the message.

    Raises:
      ValueError: it is not JSON; names the path.
    """
    try:
        return json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_reject_constant,
        )
    except (ValueError, RecursionError) as error:
        # Python's message on a huge integer continues with a function to call.
        reason, _, _ = str(error).partition(";")
        raise ValueError(f"{path} is not JSON: {reason}") from None


def nonfinite_to_null(value: Any) -> Any:
    """Returns JSON values with null in place of NaN and infinite numbers.

    >>> nonfinite_to_null({"a": [1.0, float("nan")]})
    {'a': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: nonfinite_to_null(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [nonfinite_to_null(x) for x in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} occurs twice")
        found[key] = value
    return found


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def fsync(path: Path) -> None:
    """Flushes a file's bytes, or a directory's list of names, to disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
