"""Records: JSON objects, one per line, each with the settings that reproduce it."""

import json
import os
import warnings
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path
from typing import Any

from rnnlab.atomic_io import fsync, lock, mkdir_durable, nonfinite_to_null, raise_resource_errors
from rnnlab.errors import DataError
from rnnlab.legacy_names import current_record

Record = dict[str, Any]


def append(path: Path, record: Record) -> None:
    """Appends a record, on disk when this returns. Records of several processes do not mix.

    The torn last line of a killed process is removed first. If the disk is full, the file is
    unchanged. NaN and infinite numbers, which JSON lacks, become null.

    Raises:
      DataError: the path is a symlink or not a file, or the file does not end with a record.
      InsufficientResourcesError: it could not be written; names the file and the reason.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise DataError(f"{path} must be a regular file; choose another file for the records")
    line = json.dumps(nonfinite_to_null(record), allow_nan=False).encode() + b"\n"
    # Unbuffered: a buffer would be written again when the file is closed.
    with raise_resource_errors(path):
        mkdir_durable(path.parent)
        is_new = not path.exists()
        with path.open("a+b", buffering=0) as file:
            lock(file)
            end = _end_of_records(path, file)
            file.truncate(end)
            try:
                while line:
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(end)
                raise
        if is_new:
            fsync(path.parent)


def read(path: Path) -> Iterator[Record]:
    """Yields the records of a file with current names; a torn last line is skipped with a warning.

    Raises:
      DataError: a line is not a JSON object, or has a key by its old and its current name; names
        the file and the line.
      OSError: there is no file.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise DataError(f"{path} must be a file; give a file of records")
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                if not line.endswith(b"\n"):
                    warnings.warn(f"{path}, line {number}, is cut off and skipped", stacklevel=2)
                    return
                raise DataError(
                    f"{path}, line {number}, is not JSON: {error}; fix or remove the line"
                ) from None
            if not isinstance(record, dict):
                raise DataError(f"{path}, line {number}, must be a JSON object; remove the line")
            try:
                current = current_record(record)
            except ValueError as error:
                raise DataError(f"{path}, line {number}: {error}") from None
            yield current


def _end_of_records(path: Path, file: RawIOBase, block: int = 1 << 16) -> int:
    """Returns the end of the last complete line; a complete record without its newline gets one."""
    end = file.seek(0, os.SEEK_END)
    start, tail = end, b""
    while start and b"\n" not in tail:
        start = max(0, start - block)
        file.seek(start)
        tail = file.read(end - start)
    complete = start + tail.rfind(b"\n") + 1 if b"\n" in tail else 0
    rest = tail[complete - start :]
    if rest and _is_record(rest):
        file.write(b"\n")
        return end + 1
    if rest and not rest.startswith(b"{"):
        raise DataError(f"{path} must end with a record; choose another file for the records")
    return complete


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
