"""Text files: UTF-8, checked before anything reads a symbol of them."""

import os
from pathlib import Path

from rnnlab.tasks.readers.errors import refuse

LARGEST = 2**30
"""The largest file that is read, in bytes: all of it is held in memory."""

_SIGNATURES = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"PAR1": "parquet",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def read_text(path: str | os.PathLike) -> str:
    """The text of a UTF-8 file, without a byte order mark and with every line end as `\\n`.

    Raises:
      DataError: there is no such file, it is empty or larger than `LARGEST`, or a byte of it is not
        text; the offset counts bytes from 0.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.txt")
    ...     _ = file.write_bytes(b"one\\r\\ntwo")
    ...     read_text(file)
    'one\\ntwo'
    """
    raw = read_bytes(path)
    path = Path(path)
    for signature, kind in _SIGNATURES.items():
        if raw.startswith(signature):
            raise refuse(path, f"looks like {kind}, not text; convert it to UTF-8 text")
    if b"\0" in raw:
        offset = raw.index(b"\0")
        raise refuse(
            path, f"NUL at byte {offset}; a text is needed", row=raw.count(b"\n", 0, offset) + 1
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refuse(
            path,
            f"not UTF-8 at byte {error.start} (0x{raw[error.start]:02x}); convert it to UTF-8",
            row=raw.count(b"\n", 0, error.start) + 1,
        ) from error
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise refuse(path, "has no text; a file with at least one symbol is needed")
    return text


def read_bytes(path: str | os.PathLike) -> bytes:
    """The bytes of a file that is there, not empty and not larger than `LARGEST`."""
    path = Path(path)
    try:
        if path.is_dir():
            raise refuse(path, "is a folder; a file is needed")
        if path.exists() and not path.is_file():
            raise refuse(path, "is a pipe or a device; a file is needed")
        size = path.stat().st_size
        if size > LARGEST:
            raise refuse(path, f"has {size} bytes; at most {LARGEST} are read: split the file")
        raw = path.read_bytes()
    except OSError as error:
        raise refuse(path, f"cannot be read: {error.strerror}; a file is needed") from error
    if not raw:
        raise refuse(path, "is empty; a file with data is needed")
    return raw
