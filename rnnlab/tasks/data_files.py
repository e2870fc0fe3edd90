"""Data in memory, written once to files from which tasks read it."""

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from rnnlab.atomic_io import fsync, mkdir_durable, raise_resource_errors, write_bytes
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.readers import text
from rnnlab.tasks.readers.documents import JSON_LINES, is_json_lines, to_json_lines
from rnnlab.tasks.readers.table import Table

FOLDER = Path("runs", "data")
"""Folder of the files, relative to the working directory, as the directories of runs are."""


def save_texts(texts: Iterable[str] | str, path: Path | str | None) -> Path:
    """Writes texts to a JSON Lines file, unless it exists already, and returns its path.

    Args:
      texts: the documents, or one.
      path: the file; None is named after the digest of its content.

    Raises:
      ValueError: a document is not a string, or `path` has other data.
    """
    documents = [texts] if isinstance(texts, str) else list(texts)
    for number, document in enumerate(documents):
        if not isinstance(document, str):
            raise ValueError(
                f"texts must be strings, got {type(document).__name__} as number {number}; "
                "convert it"
            )
    if not any(document.strip() for document in documents):
        raise ValueError(f"texts must have at least one symbol, got {len(documents)} empty texts")
    try:
        content = to_json_lines(documents).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"texts must be valid Unicode, got {error.object[error.start]!r}; replace it"
        ) from None
    if len(content) > text.MAX_FILE_BYTES:
        raise ValueError(
            f"texts must have <= {text.MAX_FILE_BYTES} bytes, got {len(content)}; use fewer"
        )
    if path is not None and not is_json_lines(Path(path)):
        raise ValueError(f"path must end in {' or '.join(JSON_LINES)}, got {path}; rename it")
    return save(content, hashlib.sha256(content).hexdigest(), path, ".jsonl")


def save_table(table: Table, path: Path | str | None) -> Path:
    """Writes a table to a CSV file, unless it exists already, and returns its path.

    Args:
      table: the cells.
      path: the file; None is named after the digest of its content.

    Raises:
      ValueError: `path` has other data.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([table.header, *table.records])
    content = file.getvalue().encode()
    if path is not None and Path(path).suffix.lower() != ".csv":
        raise ValueError(f"path must end in .csv, got {path}; rename it")
    return save(content, hashlib.sha256(content).hexdigest(), path, ".csv")


def save_arrays(arrays: Mapping[str, np.ndarray], path: Path | str | None) -> Path:
    """Writes arrays to an `.npz` file, unless it exists already, and returns its path.

    Args:
      arrays: by name.
      path: the file; None is named after the digest of the arrays.

    Raises:
      ValueError: `path` has other data.
    """
    if path is not None and Path(path).suffix.lower() != ".npz":
        raise ValueError(f"path must end in .npz, got {path}; rename it")
    file = io.BytesIO()
    np.savez(file, **arrays)
    digest = fingerprint(*(part for item in sorted(arrays.items()) for part in item))
    return save(file.getvalue(), digest, path, ".npz")


def save(content: bytes, digest: str, path: Path | str | None, suffix: str) -> Path:
    """Writes a file, completely or not at all, unless it has this content, and returns its path.

    Args:
      content: of the file.
      digest: of the data, which names the file if `path` is None.
      path: the file; None is a file of `FOLDER`.
      suffix: of a file that is named after its digest.

    Raises:
      ValueError: `path` exists and has other content, which runs may use.
      InsufficientResourcesError: the file could not be written.
    """
    target = FOLDER / f"{digest[:32]}{suffix}" if path is None else Path(path)
    with raise_resource_errors(target):
        if target.exists():
            if target.read_bytes() == content:
                return target
            if path is not None:
                raise ValueError(
                    f"{target} must not exist with other data, which a run may use; choose another "
                    "path or remove it"
                )
        mkdir_durable(target.parent)
    # Other processes may write the same data at the same time, so each has a file of its own.
    own = target.with_name(f".{os.getpid()}-{target.name}")
    write_bytes(own, content)
    with raise_resource_errors(target):
        own.replace(target)
        fsync(target.parent)
    return target
