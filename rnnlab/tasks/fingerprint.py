"""Digest of a data set, by which a resumed run checks that its data has not changed."""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from rnnlab.legacy_names import TASK_SETTINGS


def fingerprint(*parts: np.ndarray | str) -> str:
    """Returns the SHA-256 of arrays, with dtypes and shapes, and of strings on their preparation.

    >>> fingerprint(np.zeros(2), "scaled") == fingerprint(np.zeros((2, 1)), "scaled")
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
        else:
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        digest.update(b"\0")
    return digest.hexdigest()


def settings_fingerprint(task: Any) -> str:
    """Returns the fingerprint of generated data: of the settings of its task.

    Renamed settings keep their first names here, so that the fingerprints of earlier runs stay.

    Args:
      task: a dataclass of settings.
    """
    first_names = {new: old for old, new in TASK_SETTINGS.get(type(task).__name__, {}).items()}
    settings = ", ".join(
        f"{first_names.get(field.name, field.name)}={getattr(task, field.name)!r}"
        for field in dataclasses.fields(task)
    )
    return fingerprint(f"{type(task).__qualname__}({settings})")
