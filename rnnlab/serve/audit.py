"""The audit log: one JSON record per line, each with the digest of the one before it.

A changed, removed or inserted record breaks the chain. Cutting records off at the end does not:
keep the digest of the last record, which `AuditLog.head` and `/admin/versions` report, elsewhere.
"""

import hashlib
import json
import os
import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rnnlab.atomic_io import lock, nonfinite_to_null, raise_resource_errors
from rnnlab.errors import DataError, RunLockedError

START = "0" * 64
"""The digest before the first record."""
MAX_PENDING = 10_000
"""Records that wait to be written; one more waits for the disk."""


def sha256(content: str | bytes) -> str:
    """Returns the SHA-256 of a text or of bytes, in hexadecimal digits.

    >>> sha256("")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def seal(record: Mapping[str, Any], previous: str) -> dict[str, Any]:
    """Returns a record with `previous` and its own `digest`.

    >>> sealed = seal({"event": "start"}, START)
    >>> sealed["digest"] == digest_of(sealed)
    True
    """
    sealed = nonfinite_to_null({**record, "previous": previous})
    return {**sealed, "digest": digest_of(sealed)}


def digest_of(record: Mapping[str, Any]) -> str:
    """Returns the digest of a record: the SHA-256 of its canonical JSON without `digest`."""
    content = {name: value for name, value in record.items() if name != "digest"}
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False))


@dataclass(frozen=True)
class Chain:
    """The result of a check of an audit log.

    Attributes:
      records: number of records.
      head: digest of the last one; START of an empty log.
      torn: bytes of an incomplete last line, which a killed server leaves.
    """

    records: int
    head: str
    torn: int = 0


def check_chain(path: Path | str) -> Chain:
    """Checks every record of an audit log.

    Raises:
      DataError: a record was changed, removed or inserted; names the line.
      OSError: there is no such file.
    """
    number, head, torn = 0, START, 0
    for number, line in _lines(Path(path)):
        if not line.endswith(b"\n"):
            number, torn = number - 1, len(line)
            break
        try:
            record = json.loads(line)
            valid = isinstance(record, dict) and record["digest"] == digest_of(record)
        except (ValueError, KeyError, RecursionError):
            valid = False
        if not valid:
            raise DataError(
                f"{path}, line {number}, must be a record with its own digest, but it was changed; "
                "restore the file from a copy"
            )
        if record["previous"] != head:
            raise DataError(
                f"{path}, line {number}, must follow the record with digest {head[:12]}, got "
                f"{str(record['previous'])[:12]}: a record was removed, inserted or moved; restore "
                "the file from a copy"
            )
        head = record["digest"]
    return Chain(number, head, torn)


class AuditLog:
    """Appends records in a thread of its own; a batch is on disk before the next one is taken.

    Args:
      path: the file. Its chain is checked; a torn last line of a killed server is cut off.

    Raises:
      DataError: the chain of the file is broken.
      RunLockedError: another server writes to the file.
      InsufficientResourcesError: the file cannot be written.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            raise DataError(f"{path} must be a regular file; choose another file for the audit log")
        with raise_resource_errors(self.path):
            # Unbuffered: a failed write leaves nothing behind that is written later.
            self._file: IO[bytes] = self.path.open("ab", buffering=0)
        try:
            try:
                lock(self._file, wait=False)
            except BlockingIOError:
                raise RunLockedError(
                    f"{path} must have one writer, but another server has it; choose another file"
                ) from None
            chain = check_chain(self.path)
        except BaseException:
            self._file.close()
            raise
        if chain.torn:
            self._file.truncate(self.path.stat().st_size - chain.torn)
        self.head = chain.head
        self.failure: OSError | None = None
        self._pending: queue.Queue[dict[str, Any] | None] = queue.Queue(MAX_PENDING)
        self._thread = threading.Thread(target=self._write_all, name="audit", daemon=True)
        self._thread.start()

    def append(self, record: Mapping[str, Any]) -> None:
        """Takes a record; it is written soon after.

        Raises:
          OSError: an earlier record could not be written.
        """
        if self.failure is not None:
            raise self.failure
        self._pending.put(dict(record))

    def close(self) -> None:
        """Writes what is pending and closes the file."""
        self._pending.put(None)
        self._thread.join()
        self._file.close()

    def _write_all(self) -> None:
        is_open = True
        while is_open:
            batch = [self._pending.get()]
            while not self._pending.empty():
                batch.append(self._pending.get_nowait())
            is_open = None not in batch
            if self.failure is None:
                try:
                    self._write([record for record in batch if record is not None])
                except OSError as error:
                    self.failure = error

    def _write(self, batch: list[dict[str, Any]]) -> None:
        head, lines = self.head, []
        for record in batch:
            sealed = seal(record, head)
            head = sealed["digest"]
            lines.append(json.dumps(sealed, allow_nan=False).encode() + b"\n")
        content = b"".join(lines)
        with raise_resource_errors(self.path):
            end = self._file.seek(0, os.SEEK_END)
            try:
                while content:
                    content = content[self._file.write(content) :]
                os.fsync(self._file.fileno())
            except BaseException:
                self._file.truncate(end)
                raise
        self.head = head


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        yield from enumerate(file, 1)
