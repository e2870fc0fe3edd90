"""Check that a checkpoint belongs to the model, the settings and the data it is restored for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnlab.errors import CheckpointError

MAX_LISTED = 5
"""Number of differences that a message lists; it counts the others."""


def require_same_leaves(stored: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    """Checks that a checkpoint has exactly the wanted leaves.

    Args:
      stored: shape, dtype and digest of each stored leaf by its path.
      wanted: the arrays to restore, by their paths.
      path: the checkpoint, for the message.

    Raises:
      CheckpointError: lists the first leaves that differ, as stored and as wanted.
    """
    different = []
    for name in dict.fromkeys((*wanted, *stored)):
        have = _describe(stored.get(name) and (stored[name]["shape"], stored[name]["dtype"]))
        want = _describe((wanted[name].shape, wanted[name].dtype.name) if name in wanted else None)
        if have != want:
            different.append(f"{name}: {have} stored, {want} wanted")
    if different:
        count = len(different) - MAX_LISTED
        more = f"; and {count} more" if count > 0 else ""
        raise CheckpointError(
            f"{path} is a checkpoint of another model: {'; '.join(different[:MAX_LISTED])}{more}; "
            "use the settings of that run"
        )


def require_same_settings(stored: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    """Checks that a checkpoint has the wanted settings and data; what `wanted` lacks is ignored.

    Raises:
      CheckpointError: names the first setting that differs.
    """
    for name, value in wanted.get("config", {}).items():
        known = stored.get("config", {}).get(name)
        if known == value:
            continue
        if isinstance(known, dict) and isinstance(value, dict):
            inner = next(k for k in {**value, **known} if _of(known, k) != _of(value, k))
            name, known, value = f"{name}.{inner}", _of(known, inner), _of(value, inner)
        else:
            known, value = repr(known), repr(value)
        raise CheckpointError(
            f"{path} was trained with {name} {known}, got {value}; restore the run's config.json "
            "from a backup, or start a new run"
        )
    data = "data_fingerprint"
    if wanted.get(data) != stored.get(data) and data in wanted:
        raise CheckpointError(
            f"{path} was trained on data with fingerprint {str(stored.get(data))[:16]}, got "
            f"{str(wanted[data])[:16]}; restore the old data from a backup, or start a new run"
        )


def _of(settings: Mapping[str, Any], name: str) -> str:
    return repr(settings[name]) if name in settings else "missing"


def _describe(leaf: tuple[Any, str] | None) -> str:
    if leaf is None:
        return "nothing"
    shape, dtype = leaf
    return f"{dtype}[{','.join(map(str, shape))}]"
