"""What a run leaves behind, in one folder."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rnnlab import records
from rnnlab.errors import CheckpointError, DataError
from rnnlab.atomic_io import make_folder, read_json, write_json
from rnnlab.records import Record
from rnnlab.runs.result_schema import is_result

LONGEST_NAME = 100
NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._=,+-]{{0,{LONGEST_NAME - 1}}}")
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""


class RunDirectory:
    """The files of a run.

    `config.json` holds all settings, `environment.json` what the numbers depend on beside them,
    `metrics.jsonl` a row for every logged update and evaluation, `events/` the same for TensorBoard
    where that is installed, `checkpoints/`, `best.json` and `latest.json` the states, `retired/`
    and `damaged/` those that were moved out of the way, `run.lock` who writes, and `result.json`,
    which a finished run alone has, its outcome.
    """

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.json"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.events = path / "events"
        self.result = path / "result.json"

    @classmethod
    def create(cls, path: Path, config: Record, environment: Record) -> "RunFolder":
        """A new run's folder.

        Raises:
          ValueError: the folder holds a run already.
        """
        folder = cls(path)
        if folder.config.exists():
            raise ValueError(
                f"{path} holds a run of other settings; choose another --out, or go on with that "
                f"run by `rnnlab resume {path}`"
            )
        make_folder(path)
        write_json(folder.environment, environment)
        write_json(folder.config, config)
        return folder

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing run's folder.

        Raises:
          CheckpointError: there is no run.
        """
        folder = cls(path)
        if not os.path.isfile(folder.config):  # False also where the name is too long
            raise CheckpointError(
                f"{path} holds no run: config.json is missing; give a run's folder"
            )
        return folder

    def known_environment(self) -> Record:
        """What the run's numbers depend on beside its settings, as it was when it began.

        Raises:
          CheckpointError: the file is missing or damaged.
        """
        return _checked(
            self.environment,
            lambda row: isinstance(row, dict) and isinstance(row.get("data_fingerprint"), str),
        )

    def known_result(self) -> Record:
        """The outcome of a run that is finished.

        Raises:
          CheckpointError: the file is missing or damaged.
        """
        return _checked(self.result, is_result)

    def log(self, row: Record) -> None:
        """Adds a row of metrics."""
        records.append(self.metrics, row)

    def logged(self) -> list[Record]:
        """The rows of metrics that count: none of steps that were gone back on.

        A row with `resumed_from` says that a sitting began at that step: what was logged of later
        ones before it belongs to states that were lost, damaged or retired.

        Raises:
          DataError: a line is no row of metrics.
        """
        kept: list[Record] = []
        for row in records.read(self.metrics) if self.metrics.exists() else ():
            if not _is_logged(row):
                raise DataError(
                    f"{self.metrics} has what is no row of metrics: {str(row)[:80]}; take it out"
                )
            if "resumed_from" in row:
                kept = [r for r in kept if r["step"] <= row["resumed_from"]]
            else:
                kept.append(row)
        return kept


def _checked(path: Path, is_whole: Callable[[Any], bool]) -> Record:
    """A file of the run's own, with all that has to be in it."""
    try:
        row = read_json(path)
        if not is_whole(row):
            raise ValueError("it is not what was written")
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}; bring it back from a copy"
        ) from None
    return row


def _is_logged(row: Record) -> bool:
    """Whether a row of metrics has a step, and the times of an evaluation."""
    whole = all(isinstance(row.get(name, 0), int) for name in ("step", "resumed_from"))
    timed = "set" not in row or isinstance(row.get("seconds"), int | float)
    return whole and timed and "step" in row


def check_name(name: str) -> None:
    """Refuses a name that some system could not take for a folder, or would take for a path.

    Raises:
      ValueError: names the characters that are allowed.

    >>> check_name("cell=mingru,seed=0")
    >>> check_name("-rf")
    Traceback (most recent call last):
    ValueError: the name '-rf' of a run's folder is refused; 1 to 100 letters, digits...
    """
    if not NAME.fullmatch(name) or RESERVED.fullmatch(name) or name.endswith("."):
        raise ValueError(
            f"the name {name[:120]!r} of a run's folder is refused; 1 to {LONGEST_NAME} letters, "
            "digits and ._=,+- are allowed, the first a letter or a digit; choose another --out"
        )
