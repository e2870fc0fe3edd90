"""Settings of tasks that earlier versions of rnnlab stored, in today's names."""

import dataclasses
from collections.abc import Mapping
from typing import Any

RENAMED = {
    "Chorales": {"quarters": "quarters_per_step"},
    "Digits": {"share": "train_fraction"},
    "ListOps": {"multiple": "pad_to_multiple"},
    "MQAR": {"power": "gap_exponent"},
    "Text": {"unit": "token", "heldout": "test"},
}
"""Former names of settings and their names of today, by task."""


def current_settings(task: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the stored settings of a task under their names of today.

    A `Text` stored with `heldout` comes from before its validation part: that run selects the best
    step on its test part, and continues to do so.

    >>> current_settings("Text", {"length": 64, "heldout": 0.1})
    {'length': 64, 'test': 0.1, 'valid': 0.0}
    """
    renamed = RENAMED.get(task, {})
    settings = {renamed.get(name, name): value for name, value in stored.items()}
    if task == "Text" and "heldout" in stored:
        settings["valid"] = 0.0
    return settings


def stored_repr(task: Any) -> str:
    """Returns the repr of a task under its former names, which fingerprints of runs are made of.

    Args:
      task: a dataclass of settings.
    """
    former = {new: old for old, new in RENAMED.get(type(task).__name__, {}).items()}
    settings = ", ".join(
        f"{former.get(field.name, field.name)}={getattr(task, field.name)!r}"
        for field in dataclasses.fields(task)
    )
    return f"{type(task).__qualname__}({settings})"
