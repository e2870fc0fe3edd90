"""Small files that are there whole or not at all, on the disk when the call returns."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnnlab.errors import ResourceError

LARGEST = 64 << 20
"""The most bytes of JSON that are parsed."""


def write_json(path: Path, value: Any) -> None:
    """Writes a file whole or not at all: beside it first, then in its place.

    Raises:
      ResourceError: it could not be written; what was there before is there still.
    """
    beside = path.with_name(path.name + ".new")
    with writing(path):
        try:
            with beside.open("w", encoding="utf-8") as file:
                json.dump(value, file, indent=2)
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
    """Says of which file it is that the system could not write something.

    Raises:
      ResourceError: for every OSError within it.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ResourceError(f"{path} could not be written: {reason}; make room for it") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
      ValueError: it is not JSON, or larger than any that rnnlab writes; names the file.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{path} has {size} bytes; at most {LARGEST} are read")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None


def sync(path: Path) -> None:
    """Has a file's bytes, or a folder's list of names, put on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
