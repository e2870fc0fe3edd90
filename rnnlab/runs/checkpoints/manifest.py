"""The manifest of a checkpoint: what its directory contains, with digests.

`manifest.json` lists every leaf of the tree by its path, with shape, dtype and SHA-256, every file
with its SHA-256, and the metadata of the state. A digest of the manifest itself closes it. Format 1
is `integrity.json` with the names of `rnnlab.legacy_names`; it is read, and no longer written. In
format 3, which several processes write, a leaf has the digest of `rnnlab.parallel.digest` in place
of the SHA-256, for which one process would need the whole leaf.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from rnnlab import legacy_names
from rnnlab.atomic_io import read_json, write_json
from rnnlab.errors import CheckpointError, CorruptCheckpointError
from rnnlab.parallel.digest import digests

FORMAT, SHARED_FORMAT = 2, 3
"""Versions of the format that one process writes, and several."""

MANIFEST_FILE = "manifest.json"
Metadata = Mapping[str, Any]


class Manifest(NamedTuple):
    """A manifest as read, with current names.

    Attributes:
      format: version of the format it was written in.
      metadata: what the state belongs to.
      leaves: `shape`, `dtype` and `sha256` or `digest` of each leaf by its path.
      stored_paths: the path under which each leaf is stored.
    """

    format: int
    metadata: Metadata
    leaves: Mapping[str, Mapping[str, Any]]
    stored_paths: Mapping[str, str]


def describe_leaves(
    leaves: Mapping[str, Any], *, is_shared: bool = False
) -> dict[str, dict[str, Any]]:
    """Returns shape, dtype and digest of each array by its path.

    Args:
      leaves: the arrays by path.
      is_shared: whether several processes hold them; all must call this then.
    """
    name, found = "sha256", {}
    if is_shared:
        name, found = "digest", digests(leaves)
    return {
        path: {
            "shape": list(x.shape),
            "dtype": x.dtype.name,
            name: found[path] if is_shared else digest(x),
        }
        for path, x in leaves.items()
    }


def digest_files(directory: Path, process: int = 0, count: int = 1) -> dict[str, str]:
    """Returns the SHA-256 of the files that a process wrote, by their paths in a directory.

    Those are the files of Orbax's folder for the process; process 0 has all that are in no such
    folder of another one.
    """
    others = {f"ocdbt.process_{k}" for k in range(count) if k != process}
    named = f"ocdbt.process_{process}"
    found = {}
    for path in sorted(directory.rglob("*")):
        inner = path.relative_to(directory)
        own = not others & set(inner.parts) if process == 0 else named in inner.parts
        if own and path.is_file():
            found[str(inner)] = _file_digest(path)
    return found


def write_manifest(
    directory: Path,
    leaves: Mapping[str, Mapping[str, Any]],
    metadata: Metadata,
    files: Mapping[str, str] | None = None,
) -> None:
    """Writes the manifest of a directory that is otherwise complete.

    Args:
      directory: the checkpoint's directory.
      leaves: the result of `describe_leaves`.
      metadata: what the state belongs to: settings, data, versions, machine; plain JSON values.
      files: the SHA-256 of every file by its path in the directory; None: they are read now.
    """
    files = digest_files(directory) if files is None else files
    is_shared = any("sha256" not in leaf for leaf in leaves.values())
    body = {
        "format": SHARED_FORMAT if is_shared else FORMAT,
        "metadata": dict(metadata),
        "leaves": dict(leaves),
        "files": dict(sorted(files.items())),
    }
    write_json(directory / MANIFEST_FILE, {"sha256": _body_digest(body), **body})


def read_verified_manifest(directory: Path, process: int = 0, count: int = 1) -> Manifest:
    """Reads the manifest and verifies the digest of every file, or of a process's share of them.

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
        if body["format"] > SHARED_FORMAT:
            raise CheckpointError(
                f"{directory} must have format <= {SHARED_FORMAT}, got {body['format']} of a later "
                "rnnlab; upgrade rnnlab"
            )
        for name, known in list(body["files"].items())[process::count]:
            file = directory / name
            if ".." in Path(name).parts or Path(name).is_absolute() or not file.is_file():
                raise CorruptCheckpointError(f"{file} is missing")
            if _file_digest(file) != known:
                raise CorruptCheckpointError(f"{file} differs from what was written")
        for leaf in body["leaves"].values():
            sums = leaf["digest" if body["format"] == SHARED_FORMAT else "sha256"]
            if not (isinstance(leaf["shape"], list) and isinstance(leaf["dtype"], str) and sums):
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


def verify_leaves(directory: Path, manifest: Manifest, leaves: Mapping[str, Any]) -> None:
    """Compares the arrays that were read with the manifest.

    The SHA-256 of an array of which this process has only a part is not compared: those of the
    files have been.

    Raises:
      CorruptCheckpointError: an array differs from what was stored; names it.
    """
    known = {name: manifest.leaves.get(name, {}) for name in leaves}
    found = digests({name: x for name, x in leaves.items() if "digest" in known[name]})
    for name, x in leaves.items():
        if "digest" in known[name]:
            is_same = found[name] == known[name]["digest"]
        else:
            is_same = isinstance(x, jax.Array) or digest(x) == known[name].get("sha256")
        if not is_same:
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
