"""What a checkpoint's folder holds and the digests of it, in a file among its own.

`integrity.json` lists every leaf of the tree by its path, with shape, dtype and SHA-256, every file
with its SHA-256, and what the state belongs to. A digest of the list itself closes it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.errors import CheckpointError, CorruptCheckpointError
from rnnlab.atomic_io import read_json, write_json

FORMAT = 1
NAME = "integrity.json"
About = Mapping[str, Any]


def seal(folder: Path, leaves: Mapping[str, np.ndarray], about: About) -> None:
    """Writes the list of a folder that is otherwise complete.

    Args:
      folder: the checkpoint's.
      leaves: what is stored in it, by path.
      about: what the state belongs to: settings, data, versions, machine; plain JSON values.
    """
    body = {
        "format": FORMAT,
        "about": dict(about),
        "leaves": {
            name: {"shape": list(x.shape), "dtype": x.dtype.name, "sha256": digest(x)}
            for name, x in leaves.items()
        },
        "files": {
            str(path.relative_to(folder)): _file_digest(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }
    write_json(folder / NAME, {"sha256": _body_digest(body), **body})


def opened(folder: Path) -> dict[str, Any]:
    """The list of a checkpoint's folder, after every file was found to be what it says.

    Raises:
      DamagedError: a file is missing or is not what was written; names it.
      CheckpointError: a later rnnlab wrote it.
    """
    path = folder / NAME
    with _named_damage(path):
        for file in (path, *folder.rglob("*")):
            if file.is_symlink() or not file.exists():
                raise CorruptCheckpointError(
                    f"{file} is {'a link' if file.is_symlink() else 'missing'}"
                )
        body = read_json(path)
        if body.pop("sha256") != _body_digest(body):
            raise CorruptCheckpointError(f"{path} is not what was written")
        if body["format"] > FORMAT:
            raise CheckpointError(
                f"{folder} has format {body['format']}, of a later rnnlab; this one reads up to "
                f"{FORMAT}: upgrade it"
            )
        for name, known in body["files"].items():
            file = folder / name
            if ".." in Path(name).parts or Path(name).is_absolute() or not file.is_file():
                raise CorruptCheckpointError(f"{file} is missing")
            if _file_digest(file) != known:
                raise CorruptCheckpointError(f"{file} is not what was written")
        for leaf in body["leaves"].values():
            kinds = isinstance(leaf["shape"], list), isinstance(leaf["dtype"], str), leaf["sha256"]
            if not all(kinds):
                raise TypeError
        for name in ("config", "versions"):
            if not isinstance(body["about"].get(name, {}), dict):
                raise TypeError
        return body


@contextmanager
def _named_damage(path: Path) -> Iterator[None]:
    """Whatever goes wrong in reading a checkpoint's files is damage to it."""
    try:
        yield
    except CheckpointError:
        raise
    except (ValueError, OSError) as error:
        raise CorruptCheckpointError(str(error)) from None
    except (AttributeError, KeyError, TypeError):
        raise CorruptCheckpointError(f"{path} is not what was written") from None


def check_leaves(folder: Path, body: Mapping[str, Any], leaves: Mapping[str, np.ndarray]) -> None:
    """Holds what was read against the list.

    Raises:
      DamagedError: an array is not what was stored; names it.
    """
    for name, x in leaves.items():
        if digest(x) != body["leaves"].get(name, {}).get("sha256"):
            raise CorruptCheckpointError(f"{name} in {folder} is not what was stored")


def digest(x: np.ndarray) -> str:
    """SHA-256 of an array's bytes.

    >>> digest(np.zeros(2, np.float32)) == digest(np.array([0.0, -0.0], np.float32))
    False
    """
    return hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _body_digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
