"""The directory of a run: its files, and how they are read and written."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rnnlab import records
from rnnlab.atomic_io import mkdir_durable, read_json, write_json
from rnnlab.errors import CheckpointError, DataError
from rnnlab.legacy_names import current_record
from rnnlab.records import Record
from rnnlab.runs.result_schema import is_result

ARCHIVE_DIR, CORRUPT_DIR = "archived", "corrupt"
"""Subdirectories for checkpoints that a run went back from, and for corrupt ones."""

MAX_NAME_LENGTH = 100
RUN_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._=,+-]{{0,{MAX_NAME_LENGTH - 1}}}")
WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Names that Windows reserves for devices."""


class RunDirectory:
    """The files of a run.

    `config.json` holds all settings; `environment.json` what else the numbers depend on;
    `metrics.jsonl` one record per logged update and evaluation, and `events/` the same for
    TensorBoard; `checkpoints/`, `best.json` and `latest.json` the states; `archived/` and
    `corrupt/` checkpoints that were moved out of the way; `run.lock` the process that writes; and
    `result.json`, which only a finished run has, its outcome.
    """

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.json"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.events = path / "events"
        self.result = path / "result.json"

    @classmethod
    def create(cls, path: Path, config: Record, environment: Record) -> "RunDirectory":
        """Makes the directory of a new run.

        Raises:
          ValueError: the directory holds a run already.
        """
        run_dir = cls(path)
        if run_dir.config.exists():
            raise ValueError(
                f"{path} must be a new directory, and holds a run of other settings; choose "
                f"another --out, or resume that run with `rnnlab resume {path}`"
            )
        mkdir_durable(path)
        write_json(run_dir.environment, environment)
        write_json(run_dir.config, config)
        return run_dir

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """Opens the directory of an existing run.

        Raises:
          CheckpointError: there is no run.
        """
        run_dir = cls(path)
        if not os.path.isfile(run_dir.config):  # False also where the name is too long
            raise CheckpointError(
                f"{path} must be a run's directory, and has no config.json; give a run's directory"
            )
        return run_dir

    def read_environment(self) -> Record:
        """Returns what the run's numbers depend on besides its settings, as it was at its start.

        Raises:
          CheckpointError: the file is missing or corrupt.
        """
        return _read_valid(
            self.environment,
            lambda record: (
                isinstance(record, dict) and isinstance(record.get("data_fingerprint"), str)
            ),
        )

    def read_result(self) -> Record:
        """Returns the outcome of a finished run.

        Raises:
          CheckpointError: the file is missing or corrupt.
        """
        return _read_valid(self.result, is_result)

    def append_metrics(self, record: Record) -> None:
        """Appends a record of metrics."""
        records.append(self.metrics, record)

    def read_metrics(self) -> list[Record]:
        """Returns the metrics of the current history; records of rolled-back steps are dropped.

        A record with `resumed_from` records that a process resumed at that step: earlier records of
        later steps belong to states that are missing, corrupt or archived.

        Raises:
          DataError: a line is not a record of metrics.
        """
        current: list[Record] = []
        for record in records.read(self.metrics) if self.metrics.exists() else ():
            if not _is_metrics(record):
                raise DataError(
                    f"{self.metrics} contains an invalid metrics record: {str(record)[:80]}; "
                    "remove that line"
                )
            if "resumed_from" in record:
                current = [r for r in current if r["step"] <= record["resumed_from"]]
            else:
                current.append(record)
        return current


def _read_valid(path: Path, is_valid: Callable[[Any], bool]) -> Record:
    """Returns a JSON file of the run that has all required fields."""
    try:
        record = read_json(path)
        if isinstance(record, dict):
            record = current_record(record)
        if not is_valid(record):
            raise ValueError("its content is not what rnnlab writes")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; restore it from a backup") from None
    return record


def _is_metrics(record: Record) -> bool:
    """Returns whether a record has a step and, of an evaluation, the seconds."""
    valid_steps = all(isinstance(record.get(name, 0), int) for name in ("step", "resumed_from"))
    timed = "set" not in record or isinstance(record.get("seconds"), int | float)
    return valid_steps and timed and "step" in record


def validate_run_name(name: str) -> None:
    """Checks that a name is a valid directory name on every system, and not a path.

    Raises:
      ValueError: names the characters that are allowed.

    >>> validate_run_name("cell=mingru,seed=0")
    >>> validate_run_name("-rf")
    Traceback (most recent call last):
    ValueError: the name of a run's directory must be 1 to 100 letters, digits and ._=,+-, ...
    """
    if not RUN_NAME.fullmatch(name) or WINDOWS_DEVICE.fullmatch(name) or name.endswith("."):
        raise ValueError(
            f"the name of a run's directory must be 1 to {MAX_NAME_LENGTH} letters, digits and "
            "._=,+-, start with a letter or a digit and not be a device of Windows, got "
            f"{name[:120]!r}; choose another --out"
        )
