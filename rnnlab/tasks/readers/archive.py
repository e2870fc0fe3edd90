"""Files that are compressed with xz, and the files inside of archives and folders."""

import io
import lzma
import os
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

from rnnlab.tasks.readers.errors import data_error

XZ = b"\xfd7zXZ\0"
"""The first bytes of a file that is compressed with xz."""

GZIP = b"\x1f\x8b"
"""The first bytes of a file that is compressed with gzip."""

ZIP = b"PK\x03\x04"
"""The first bytes of a zip file."""

MAX_UNPACKED_BYTES = 2**30
"""Greatest size of the content of a compressed file or an archive."""


def unpack_xz(path: Path, raw: bytes) -> bytes:
    """Returns the content of a file, decompressed if it is compressed with xz.

    Args:
      path: of the file, for messages.
      raw: its bytes.

    Raises:
      DataError: it is incomplete or corrupt, or its content is larger than `MAX_UNPACKED_BYTES`.

    >>> unpack_xz(Path("a.xz"), lzma.compress(b"one")), unpack_xz(Path("a"), b"one")
    (b'one', b'one')
    """
    if not raw.startswith(XZ):
        return raw
    return _decompress(path, raw, lzma.LZMADecompressor(lzma.FORMAT_XZ))


def read_members(path: str | os.PathLike, *suffixes: str) -> dict[str, bytes]:
    """Returns the content of files in an archive or in a folder, by their path in it, in order.

    Nothing is written. Links and files with other suffixes are skipped.

    Args:
      path: a folder, or an archive: `.tar`, `.tar.gz`, `.tar.xz` or `.zip`.
      suffixes: of the files to read, such as `.txt`.

    Raises:
      DataError: it is neither, is corrupt, or contains more than `MAX_UNPACKED_BYTES`.
    """
    path = Path(path)
    if path.is_dir():
        found = (x for x in path.rglob("*") if x.suffix in suffixes and x.is_file())
        files = {x.relative_to(path).as_posix(): x for x in found}
        size = sum(file.stat().st_size for file in files.values())
        _require_size(path, size)
        return {name: files[name].read_bytes() for name in sorted(files)}
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = f"cannot be read: {error.strerror}; give an archive or a folder"
        raise data_error(path, reason) from error
    if raw.startswith(ZIP) or path.suffix.lower() == ".zip":
        return _zip_members(path, raw, suffixes)
    if raw.startswith(GZIP):
        raw = _decompress(path, raw, zlib.decompressobj(wbits=31))
    content = unpack_xz(path, raw)
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            chosen = [x for x in archive if x.isfile() and x.name.endswith(suffixes)]
            members = {member.name: archive.extractfile(member).read() for member in chosen}
    except tarfile.TarError as error:
        reason = f"cannot be read as a tar archive: {error}; copy it again"
        raise data_error(path, reason) from error
    return dict(sorted(members.items()))


def _zip_members(path: Path, raw: bytes, suffixes: tuple[str, ...]) -> dict[str, bytes]:
    """The content of files in a zip file, of which none is larger than its entry states."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(suffixes))
            size = sum(archive.getinfo(name).file_size for name in names)
            members = {name: archive.read(name) for name in names if size <= MAX_UNPACKED_BYTES}
    except Exception as error:  # a corrupt or encrypted file makes the parsers raise any kind
        reason = f"cannot be read as a zip file: {error}; copy it again"
        raise data_error(path, reason) from error
    _require_size(path, size)
    return members


def _decompress(path: Path, raw: bytes, decompressor: Any) -> bytes:
    """The content of compressed bytes, of which none may be missing."""
    try:
        content = decompressor.decompress(raw, MAX_UNPACKED_BYTES + 1)
    except (lzma.LZMAError, zlib.error) as error:
        raise data_error(path, f"cannot be decompressed: {error}; copy it again") from error
    _require_size(path, len(content))
    if not decompressor.eof:
        raise data_error(path, "ends too early to be decompressed; copy it again")
    return content


def _require_size(path: Path, size: int) -> None:
    if size > MAX_UNPACKED_BYTES:
        raise data_error(path, f"must contain <= {MAX_UNPACKED_BYTES} bytes, got more; split it")
