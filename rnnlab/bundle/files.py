"""The folder of a bundle: its files are read and compared with their digests, or replaced."""

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rnnlab.atomic_io import fsync, mkdir_durable, raise_resource_errors
from rnnlab.bundle.format import DESCRIPTION, MAX_JSON_BYTES, SIGNATURE, FileRecord
from rnnlab.errors import BundleError

CHUNK = 1 << 20


def read_description(folder: Path) -> bytes:
    """Returns the bytes of `bundle.json`.

    Raises:
      BundleError: it is missing, not a regular file or too large.
    """
    if not folder.is_dir() or not os.path.lexists(folder / DESCRIPTION):
        raise BundleError(
            f"{folder} must be a bundle, a folder with a {DESCRIPTION}, got none; make one with "
            "`rnnlab bundle RUN`"
        )
    with _open(folder / DESCRIPTION) as (file, size):
        if size > MAX_JSON_BYTES:
            raise BundleError(
                f"{folder / DESCRIPTION} must have at most {MAX_JSON_BYTES:,} bytes, got {size:,}; "
                "restore it from a copy"
            )
        return file.read(size)


def require_files(folder: Path, records: Mapping[str, FileRecord]) -> None:
    """Raises BundleError unless a folder has exactly the files of the records, with their digests.

    A signature may be there too.
    """
    found = {entry.name for entry in os.scandir(folder)}
    if unknown := found - records.keys() - {DESCRIPTION, SIGNATURE}:
        raise BundleError(
            f"{folder} must have only the files of {DESCRIPTION}, got {min(unknown)[:100]!r}; "
            "remove it"
        )
    for name, record in records.items():
        if name not in found:
            raise BundleError(f"{folder / name} is missing; restore it from a copy")
        with _open(folder / name) as (file, size):
            digest = hashlib.sha256()
            if size == record.size:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
        if size != record.size or digest.hexdigest() != record.sha256:
            raise _changed(folder / name)


def read_file(path: Path, record: FileRecord) -> bytes:
    """Returns the content of a file of a bundle.

    Raises:
      BundleError: it differs from its record.
    """
    with _open(path) as (file, size):
        content = file.read(size) if size == record.size else b""
    if FileRecord.of(content) != record:
        raise _changed(path)
    return content


def read_start(path: Path, count: int) -> tuple[bytes, int]:
    """Returns the first bytes of a file of a bundle, and its size."""
    with _open(path) as (file, size):
        return file.read(count), size


def write_folder(folder: Path, files: Mapping[str, bytes | Path], *, overwrite: bool) -> None:
    """Writes a folder completely or not at all.

    Args:
      folder: a new folder; with `overwrite` also one that holds nothing but regular files.
      files: contents by name; of a path, that file, which is linked if both are on one file system.
      overwrite: whether an existing folder is replaced.

    Raises:
      InsufficientResourcesError: it cannot be written; an existing folder is unchanged.
    """
    with raise_resource_errors(folder):
        mkdir_durable(folder.parent)
        new = _sibling(folder, "tmp")
        new.mkdir()
        try:
            for name, content in files.items():
                _write(new / name, content)
            fsync(new)
            if overwrite:
                _swap(folder, new)
            else:
                new.rename(folder)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        fsync(folder.parent)


def _swap(folder: Path, new: Path) -> None:
    """Replaces a folder, which is put back if that fails."""
    old = _sibling(folder, "old")
    folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _write(path: Path, content: bytes | Path) -> None:
    if isinstance(content, Path):
        try:
            os.link(content, path, follow_symlinks=False)
        except OSError:  # another file system, or one without links
            shutil.copyfile(content, path)
        return
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sibling(folder: Path, suffix: str) -> Path:
    # Of a new name: another process may write the same bundle.
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.{suffix}")


@contextmanager
def _open(path: Path) -> Iterator[tuple]:
    """Opens a regular file, not through a link, and yields it with its size."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    is_link = path.is_symlink()
    try:
        number = None if is_link else os.open(path, flags | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise BundleError(
            f"{path} must be a file that can be read: {error.strerror}; restore it from a copy"
        ) from None
    if number is None:
        raise _irregular(path)
    status = os.fstat(number)
    if not stat.S_ISREG(status.st_mode):
        os.close(number)
        raise _irregular(path)
    with open(number, "rb") as file:
        yield file, status.st_size


def _irregular(path: Path) -> BundleError:
    return BundleError(
        f"{path} must be a regular file, got a link, a folder or a device; replace it by a copy of "
        "the file"
    )


def _changed(path: Path) -> BundleError:
    return BundleError(f"{path} has changed since the bundle was written; restore it from a copy")
