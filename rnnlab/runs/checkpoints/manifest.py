"""The manifest of a checkpoint: what its directory contains, with digests.

`manifest.json` lists every leaf of the tree by its path, with shape, dtype and SHA-256, every file
with its SHA-256, and the metadata of the state. A digest of the manifest itself closes it. Format 1
is `integrity.json` with the names of `rnnlab.legacy_names`; it is read, and no longer written.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnlab import legacy_names
from rnnlab.atomic_io import read_json, write_json
from rnnlab.errors import CheckpointError, CorruptCheckpointError

FORMAT = 2
MANIFEST_FILE = "manifest.json"
Metadata = Mapping[str, Any]


class Manifest(NamedTuple):
    """A manifest as read, with current names.

    Attributes:
      format: version of the format it was written in.
      metadata: what the state belongs to.
      leaves: `shape`, `dtype` and `sha256` of each leaf by its path.
      stored_paths: the path under which each leaf is stored.
    """

    format: int
    metadata: Metadata
    leaves: Mapping[str, Mapping[str, Any]]
    stored_paths: Mapping[str, str]


def write_manifest(directory: Path, leaves: Mapping[str, np.ndarray], metadata: Metadata) -> None:
    """Writes the manifest of a directory that is otherwise complete.

    Args:
      directory: the checkpoint's directory.
      leaves: the arrays stored in it, by path.
      metadata: what the state belongs to: settings, data, versions, machine; plain JSON values.
    """
    body = {
        "format": FORMAT,
        "metadata": dict(metadata),
        "leaves": {
            name: {"shape": list(x.shape), "dtype": x.dtype.name, "sha256": digest(x)}
            for name, x in leaves.items()
        },
        "files": {
            str(path.relative_to(directory)): _file_digest(path)
            for path in sorted(directory.rglob("*"))
            if path.is_file()
        },
    }
    write_json(directory / MANIFEST_FILE, {"sha256": _body_digest(body), **body})


def read_verified_manifest(directory: Path) -> Manifest:
    """Reads the manifest and verifies the digest of every file.

    Raises:
      CorruptCheckpointError: a file is missing or differs from what was written; names it.
      CheckpointError: a later rnnlab wrote the checkpoint.
    """
    path = directory / MANIFEST_FILE
    if not path.exists() and (legacy := directory / legacy_names.MANIFEST_FILE).exists():
        path = legacy
    with _as_corruption(path):
        for file in (path, *directory.rglob("*")):
            if file.is_symlink():
                raise CorruptCheckpointError(f"{file} must be a file or a directory, got a symlink")
            if not file.exists():
                raise CorruptCheckpointError(f"{file} is missing")
        body = read_json(path)
        if body.pop("sha256") != _body_digest(body):
            raise CorruptCheckpointError(f"{path} differs from what was written")
        if body["format"] > FORMAT:
            raise CheckpointError(
                f"{directory} must have format <= {FORMAT}, got {body['format']} of a later "
                "rnnlab; upgrade rnnlab"
            )
        for name, known in body["files"].items():
            file = directory / name
            if ".." in Path(name).parts or Path(name).is_absolute() or not file.is_file():
                raise CorruptCheckpointError(f"{file} is missing")
            if _file_digest(file) != known:
                raise CorruptCheckpointError(f"{file} differs from what was written")
        for leaf in body["leaves"].values():
            typed = isinstance(leaf["shape"], list), isinstance(leaf["dtype"], str), leaf["sha256"]
            if not all(typed):
                raise TypeError
        metadata = body["metadata" if body["format"] > 1 else legacy_names.METADATA_KEY]
        for name in ("config", "versions"):
            if not isinstance(metadata.get(name, {}), dict):
                raise TypeError
        if "config" in metadata:
            metadata = metadata | {"config": legacy_names.current_record(metadata["config"])}
        stored_paths = {legacy_names.current_leaf(name): name for name in body["leaves"]}
        leaves = {name: body["leaves"][stored] for name, stored in stored_paths.items()}
        return Manifest(body["format"], metadata, leaves, stored_paths)


@contextmanager
def _as_corruption(path: Path) -> Iterator[None]:
    """Turns every failure of reading a checkpoint's files into CorruptCheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except (ValueError, OSError) as error:
        raise CorruptCheckpointError(str(error)) from None
    except (AttributeError, KeyError, TypeError):
        raise CorruptCheckpointError(f"{path} differs from what was written") from None


def verify_leaves(directory: Path, manifest: Manifest, leaves: Mapping[str, np.ndarray]) -> None:
    """Compares the arrays that were read with the manifest.

    Raises:
      CorruptCheckpointError: an array differs from what was stored; names it.
    """
    for name, x in leaves.items():
        if digest(x) != manifest.leaves.get(name, {}).get("sha256"):
            raise CorruptCheckpointError(f"{name} in {directory} differs from what was stored")


def digest(x: np.ndarray) -> str:
    """Returns the SHA-256 of an array's bytes.

    >>> digest(np.zeros(2, np.float32)) == digest(np.array([0.0, -0.0], np.float32))
    False
    """
    return hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _body_digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
