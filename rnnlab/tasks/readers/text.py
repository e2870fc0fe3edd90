"""Reader of UTF-8 text files, which checks that the file is text."""

import os
from pathlib import Path

from rnnlab.tasks.readers.archive import unpack_xz
from rnnlab.tasks.readers.errors import data_error

MAX_FILE_BYTES = 2**30
"""Size of the largest file that is read, since a file is read into memory as a whole."""

_SIGNATURES = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"PAR1": "parquet",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def read_text(path: str | os.PathLike) -> str:
    """Returns the text of a UTF-8 file, without byte order mark, with `\\n` as every line end.

    A file that is compressed with xz is decompressed.

    Raises:
      DataError: the file does not exist, is empty or larger than `MAX_FILE_BYTES`, or is not UTF-8
        text. Messages count bytes from 0.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.txt")
    ...     _ = file.write_bytes(b"one\\r\\ntwo")
    ...     read_text(file)
    'one\\ntwo'
    """
    return decode_text(Path(path), unpack_xz(Path(path), read_bytes(path)))


def decode_text(path: Path, raw: bytes, alternative: str = "") -> str:
    """Returns the text of the bytes of a file, as `read_text` does.

    Args:
      path: the file, for messages.
      raw: its content.
      alternative: what else a user can do about a file that is not UTF-8, for messages.

    Raises:
      DataError: the bytes are not UTF-8 text.
    """
    if kind := file_kind(raw):
        reason = f"looks like {kind}, not text; convert it to UTF-8 text{alternative}"
        raise data_error(path, reason)
    if b"\0" in raw:
        offset = raw.index(b"\0")
        raise data_error(
            path,
            f"must be text, got NUL at byte {offset}; convert it to UTF-8 text{alternative}",
            line=raw.count(b"\n", 0, offset) + 1,
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start} (0x{raw[error.start]:02x})"
        raise data_error(
            path,
            f"{reason}; convert it to UTF-8{alternative}",
            line=raw.count(b"\n", 0, error.start) + 1,
        ) from error
    text = normalize_line_ends(text.removeprefix("\ufeff"))
    if not text.strip():
        raise data_error(path, "has no text; write at least one symbol")
    return text


def file_kind(raw: bytes) -> str | None:
    """Returns the format of a file that starts like one which is not UTF-8 text; else None.

    >>> file_kind(b"PK\\x03\\x04")
    'zip'
    """
    return next((kind for start, kind in _SIGNATURES.items() if raw.startswith(start)), None)


def normalize_line_ends(text: str) -> str:
    """Returns a text with `\\n` as every line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(path: str | os.PathLike) -> bytes:
    """Returns the bytes of a file.

    Raises:
      DataError: the file does not exist, is not a file, is empty or larger than `MAX_FILE_BYTES`.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise data_error(path, "is a directory; give a file")
        if path.exists() and not path.is_file():
            raise data_error(path, "is a pipe or a device; give a file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise data_error(path, f"must have <= {MAX_FILE_BYTES} bytes, got {size}; split it")
        raw = path.read_bytes()
    except OSError as error:
        raise data_error(path, f"cannot be read: {error.strerror}; give a file") from error
    if not raw:
        raise data_error(path, "is empty; give a file with data")
    return raw
