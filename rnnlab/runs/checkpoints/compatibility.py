"""Whether a checkpoint is of the model and the settings that it is wanted for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.errors import CheckpointError

NAMED = 5
"""Differences that a message names; it counts the others."""


def same_leaves(stored: Mapping[str, Any], wanted: Mapping[str, np.ndarray], where: Path) -> None:
    """Refuses another model's leaves.

    Args:
      stored: a leaf's shape, dtype and digest by its path.
      wanted: the arrays that are to be restored, by their paths.
      where: the checkpoint, for the message.

    Raises:
      CheckpointError: names the first leaves that differ, as they are stored and wanted.
    """
    wrong = []
    for name in dict.fromkeys((*wanted, *stored)):
        have = _kind(stored.get(name) and (stored[name]["shape"], stored[name]["dtype"]))
        want = _kind((wanted[name].shape, wanted[name].dtype.name) if name in wanted else None)
        if have != want:
            wrong.append(f"{name}: {have} stored, {want} wanted")
    if wrong:
        more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise CheckpointError(
            f"{where} is of another model: {'; '.join(wrong[:NAMED])}{more}; use the settings of "
            "that run"
        )


def same_settings(stored: Mapping[str, Any], wanted: Mapping[str, Any], where: Path) -> None:
    """Refuses the state of other settings or data. What `wanted` does not name is not compared.

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
            f"{where} was trained with {name} {known}, and {value} is wanted; bring the run's "
            "config.json back, or start a new run"
        )
    data = "data_fingerprint"
    if wanted.get(data) != stored.get(data) and data in wanted:
        raise CheckpointError(
            f"{where} was trained on data of the fingerprint {str(stored.get(data))[:16]}, and "
            f"this is {str(wanted[data])[:16]}; bring the old data back, or start a new run"
        )


def _of(settings: Mapping[str, Any], name: str) -> str:
    return repr(settings[name]) if name in settings else "left out"


def _kind(what: tuple[Any, str] | None) -> str:
    if what is None:
        return "nothing"
    shape, dtype = what
    return f"{dtype}[{','.join(map(str, shape))}]"
