"""Tasks and cells in the settings of a run: names, or users' classes as `FILE.py:CLASS`.

A run records the SHA-256 digest of each user's file. A file that has changed since is an error, as
changed data is: the rest of the run would train another model.
"""

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnlab.errors import CheckpointError
from rnnlab.load_module import (
    file_digest,
    is_reference,
    load_class,
    reference_to,
    referenced_file,
)
from rnnlab.tasks import TASKS
from rnnlab.tasks.data import Task

Sources = dict[str, dict[str, str]]
"""Absolute path and SHA-256 digest of users' files by their path in the settings."""


def task_name(task: Task) -> str:
    """Returns the name of a task in `TASKS`, or the reference to its class.

    Raises:
      ValueError: its class is neither, so that a run on it could not be resumed.

    >>> from rnnlab.tasks import Adding
    >>> task_name(Adding())
    'Adding'
    """
    kind = type(task)
    return kind.__name__ if TASKS.get(kind.__name__) is kind else reference_to(kind)


def find_task(name: str) -> type[Task]:
    """Returns the class of a task by its name or reference.

    Raises:
      ValueError: the name is unknown, or the class cannot be loaded or is not a task.

    >>> find_task("Adding").__name__
    'Adding'
    """
    if name in TASKS:
        return TASKS[name]
    if not is_reference(name):
        raise ValueError(
            f"task {name!r} is unknown; choose one of {', '.join(TASKS)}. Your own: FILE.py:CLASS"
        )
    kind = load_class(name, "a task")
    if not (dataclasses.is_dataclass(kind) and callable(getattr(kind, "load", None))):
        raise ValueError(
            f"{name} must be a frozen dataclass with a method load(seed); change the class"
        )
    try:
        typing.get_type_hints(kind)
    except Exception as error:
        raise ValueError(
            f"{name} must have annotations that exist at run time: {error}; import them"
        ) from None
    return kind


def references(settings: Mapping[str, Any]) -> list[str]:
    """Returns the references to users' classes in the settings of a run.

    >>> references({"task": "Adding", "model": {"cell": "a.py:A+gru"}})
    ['a.py:A']
    """
    model = settings.get("model")
    cell = model.get("cell") if isinstance(model, Mapping) else None
    return [
        name for name in (str(settings.get("task")), *str(cell).split("+")) if is_reference(name)
    ]


def find_sources(settings: Mapping[str, Any]) -> Sources:
    """Returns the users' files of a new run, for its record."""
    files = {file: Path(file).expanduser() for file in map(referenced_file, references(settings))}
    return {
        file: {"path": str(path.resolve()), "sha256": file_digest(path)}
        for file, path in files.items()
    }


def resolve(settings: Mapping[str, Any], sources: Sources) -> dict[str, Any]:
    """Returns the settings with references to the files of `sources`, which are not executed.

    A file is looked for as the settings name it, from the working directory, and then where it was
    when the run began.

    Raises:
      CheckpointError: a file is missing or has changed.
    """
    found = {}
    for reference in references(settings):
        file = referenced_file(reference)
        if file not in sources:
            raise CheckpointError(
                f"environment.json does not record {file}, which the run uses; restore it from a "
                "backup"
            )
        found[reference] = f"{_find(file, sources[file])}:{reference.rpartition(':')[2]}"
    if not found:
        return dict(settings)
    cells = [found.get(name, name) for name in settings["model"]["cell"].split("+")]
    task = str(settings["task"])
    model = {**settings["model"], "cell": "+".join(cells)}
    return {**settings, "task": found.get(task, task), "model": model}


def _find(file: str, source: Mapping[str, str]) -> str:
    existing = [path for path in (file, source["path"]) if Path(path).expanduser().is_file()]
    for path in existing:
        if file_digest(Path(path).expanduser()) == source["sha256"]:
            return path
    if existing:
        raise CheckpointError(
            f"{existing[0]}, which the run uses, has changed since it began; restore the file, or "
            "start a new run"
        )
    raise CheckpointError(f"{file}, which the run uses, is missing; restore {source['path']}")
