"""The files of a search: its settings, and the state of each trial in its run directory.

They are the record of a search. The journal of Optuna can be rebuilt from them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnlab.atomic_io import mkdir_durable, read_json, write_json
from rnnlab.errors import CheckpointError
from rnnlab.records import Record
from rnnlab.runs.run_dir import RunDirectory

SEARCH_FILE, TRIAL_FILE, JOURNAL_FILE, LOCK_FILE = (
    "search.json",
    "trial.json",
    "journal.log",
    "search.lock",
)
RUNNING, FINISHED, PRUNED, DIVERGED, FAILED = STATES = (
    "running",
    "finished",
    "pruned",
    "diverged",
    "failed",
)
"""States of a trial. An interrupted one is `RUNNING`, and no process holds its lock."""

FOLDER_NAME = re.compile(r"trial=([0-9]{4,})")


@dataclass(frozen=True)
class TrialRecord:
    """The content of `trial.json`.

    Attributes:
      number: number of the trial, from 0, which names its run directory.
      parameters: values of the settings that the search varies, as Optuna stores them.
      state: one of `STATES`.
      value: best value of the metric on the validation set; None before the trial has ended.
      reason: why the trial failed or diverged.
      attempts: processes that started the trial since its last evaluation and were killed.
      evaluations: evaluations that the trial had when it was last started.
    """

    number: int
    parameters: Mapping[str, Any]
    state: str = RUNNING
    value: float | None = None
    reason: str = ""
    attempts: int = 0
    evaluations: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether the trial will not be trained any further."""
        return self.state != RUNNING


def trial_folder(out: Path, number: int) -> Path:
    """Returns the run directory of a trial.

    >>> trial_folder(Path("runs"), 7).name
    'trial=0007'
    """
    return out / f"trial={number:04d}"


def write_trial(out: Path, trial: TrialRecord) -> None:
    """Writes the state of a trial."""
    folder = trial_folder(out, trial.number)
    mkdir_durable(folder)
    write_json(folder / TRIAL_FILE, vars(trial))


def read_trials(out: Path) -> list[TrialRecord]:
    """Returns the trials of a search, in order.

    Raises:
      CheckpointError: the file of a trial is corrupt.
    """
    found = []
    for file in sorted(out.glob(f"trial=*/{TRIAL_FILE}")):
        if (match := FOLDER_NAME.fullmatch(file.parent.name)) is None:
            continue
        try:
            trial = TrialRecord(**read_json(file))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"{file} must be the record of a trial, got an error: {error}; restore it, or "
                "remove its directory to repeat the trial"
            ) from None
        if trial.number != int(match[1]) or trial.state not in STATES:
            raise CheckpointError(
                f"{file} must be the record of trial {int(match[1])} in one of the states "
                f"{', '.join(STATES)}, got trial {trial.number}, {trial.state!r}; restore it"
            )
        found.append(trial)
    return sorted(found, key=lambda trial: trial.number)


def evaluations(out: Path, number: int, split: str, metric: str) -> dict[int, float]:
    """Returns the values of a metric that a trial has reported, by update.

    The evaluation of the untrained model is omitted.
    """
    run_dir = RunDirectory(trial_folder(out, number))
    if not run_dir.metrics.exists():
        return {}
    return {
        record["step"]: float("nan") if record.get(metric) is None else float(record[metric])
        for record in run_dir.read_metrics()
        if record.get("set") == split and record["step"]
    }


def write_search(out: Path, record: Record) -> None:
    """Writes the settings of a new search."""
    mkdir_durable(out)
    write_json(out / SEARCH_FILE, record)


def require_same_search(out: Path, record: Record) -> None:
    """Checks that a directory holds the search of these settings.

    Raises:
      ValueError: it holds a search of other settings; names the first that differs.
      CheckpointError: its settings cannot be read.
    """
    known, given = _flat(read_search(out)), _flat(record)
    for name in {**known, **given}:
        if known.get(name) != given.get(name):
            raise ValueError(
                f"{out} holds another search: {name} must be {known.get(name)!r}, got "
                f"{given.get(name)!r}; choose another --out, or give the settings of that search"
            )


def read_search(out: Path) -> Record:
    """Returns the settings of a search.

    Raises:
      CheckpointError: there is no search, or its settings cannot be read.
    """
    path = out / SEARCH_FILE
    if not path.is_file():
        raise CheckpointError(f"{out} must hold a search, and has no {SEARCH_FILE}; name another")
    try:
        return dict(read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; restore it") from None


def _flat(record: Any, name: str = "") -> dict[str, Any]:
    """Returns the values of nested JSON objects by their joined names."""
    if not isinstance(record, Mapping):
        return {name: record}
    found: dict[str, Any] = {}
    for key, value in record.items():
        found |= _flat(value, f"{name}.{key}" if name else key)
    return found
