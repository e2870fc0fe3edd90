"""Reader of the PhysioNet/CinC Challenge 2012: intensive-care stays and their outcomes."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.archive import read_members
from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.events import Events, collect_events
from rnnlab.tasks.readers.table import read_table
from rnnlab.tasks.readers.text import decode_text
from rnnlab.tasks.readers.times import CLOCK, clock_hours

HEADER = "Time,Parameter,Value"

DESCRIPTORS = ("Age", "Gender", "Height", "ICUType")
"""General descriptors, which are recorded once, at 00:00."""

VARIABLES = (
    *("ALP", "ALT", "AST", "Albumin", "BUN", "Bilirubin", "Cholesterol", "Creatinine", "DiasABP"),
    *("FiO2", "GCS", "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "MAP", "MechVent", "Mg"),
    *("NIDiasABP", "NIMAP", "NISysABP", "Na", "PaCO2", "PaO2", "Platelets", "RespRate", "SaO2"),
    *("SysABP", "Temp", "TroponinI", "TroponinT", "Urine", "WBC", "Weight", "pH"),
)
"""The 37 variables that are measured over time. The admission weight is one at 00:00."""

OUTCOMES = ("SAPS-I", "SOFA", "Length_of_stay", "Survival", "In-hospital_death")
"""Columns of the outcomes: two scores of severity, days in hospital, days until death, death."""

MISSING = -1.0
"""The code of an unknown value. All valid values of descriptors and outcomes are >= 0."""


class IcuStays(NamedTuple):
    """Intensive-care stays of adults, in the order of their ids.

    Attributes:
      ids: (stays,) int64, the RecordID.
      events: measurements of `VARIABLES` in hours since admission, at most 48. Some stays have no
        measurement.
      descriptors: (stays, 4) float64, in the order of `DESCRIPTORS`, NaN where unknown.
      outcomes: (stays, 5) float64, in the order of `OUTCOMES`, NaN where unknown; the days until
        death are NaN for those who survived.
    """

    ids: np.ndarray
    events: Events
    descriptors: np.ndarray
    outcomes: np.ndarray

    def outcome(self, name: str) -> np.ndarray:
        """Returns one column of the outcomes, (stays,) float64."""
        return self.outcomes[:, OUTCOMES.index(name)]


def read_icu_stays(files: Mapping[str, Path], part: str) -> IcuStays:
    """Reads one of the three sets of the challenge.

    Args:
      files: of `rnnlab.datasets.dataset_files("physionet2012")`: the stays of set-a, an archive or
        a folder with one text file per stay, and Outcomes-a.txt; the same of b and c.
      part: `"a"`, `"b"` or `"c"`.

    Raises:
      DataError: a file is not of the format, or stays and outcomes are not of the same patients.
    """
    stays = files[f"set-{part}"]
    outcomes_file = files[f"Outcomes-{part}.txt"]
    ids, events, descriptors = read_stays(stays)
    found, outcomes = read_outcomes(outcomes_file)
    if not np.array_equal(ids, found):
        different = np.setxor1d(ids, found)
        raise data_error(
            outcomes_file,
            f"must have one line per stay of {stays}, got {len(found)} for {len(ids)}; "
            f"{len(different)} ids are in only one of the two; give both files of one set",
        )
    return IcuStays(ids, events, descriptors, outcomes)


def read_stays(path: str | os.PathLike) -> tuple[np.ndarray, Events, np.ndarray]:
    """Returns the ids, the measurements and the general descriptors of stays.

    A file of a stay is a table with the columns Time, Parameter and Value. Lines without a
    parameter, and values that are -1, are skipped.

    Args:
      path: an archive or a folder with the file ID.txt of each stay.

    Raises:
      DataError: it has no stay, or a line is not of the format.
    """
    path = Path(path)
    texts = {}
    for name, raw in read_members(path, ".txt").items():
        stem = Path(name).stem
        if stem.isdecimal() and stem.isascii():
            texts[int(stem)] = (path / name, raw)
    if not texts:
        raise data_error(path, "has no file of a stay, such as 132539.txt; give the set's archive")
    ids = np.array(sorted(texts), np.int64)
    hours = _Hours()
    records, times, names, values = [], [], [], []
    for number, stay in enumerate(ids):
        own_times, own_names, own_values = _read_stay(*texts[int(stay)], hours)
        records.append(np.full(len(own_times), number))
        times += own_times
        names += own_names
        values += own_values
    record, time, value = np.concatenate(records), np.array(times), np.array(values)
    value[value == MISSING] = np.nan
    labels = tuple(map(str, ids.tolist()))
    events = collect_events(labels, record, time, names, value, VARIABLES)
    constant = collect_events(labels, record, time, names, value, DESCRIPTORS)
    descriptors = np.full((len(ids), len(DESCRIPTORS)), np.nan)
    owner = np.repeat(np.arange(len(ids)), np.diff(constant.offsets))
    descriptors[owner, constant.variable] = constant.values
    return ids, events._replace(unit="hours"), descriptors


def read_outcomes(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids of stays, ascending, and their outcomes, (stays, 5) float64.

    Args:
      path: a table with the columns RecordID and `OUTCOMES`.

    Raises:
      DataError: a column is missing or a cell is not a number.
    """
    table = read_table(path)
    ids = table.numbers(table.index("RecordID")).astype(np.int64)
    columns = [table.numbers(table.index(name)) for name in OUTCOMES]
    outcomes = np.stack(columns, axis=1)
    outcomes[outcomes == MISSING] = np.nan
    order = np.argsort(ids)
    return ids[order], outcomes[order]


class _Hours(dict):
    """Hours of a time like 47:30, parsed once."""

    def __missing__(self, cell: str) -> float:
        match = CLOCK.fullmatch(cell)
        if match is None:
            raise ValueError(f"{quote_cell(cell)} is not a time like 06:30")
        self[cell] = hours = clock_hours(match)
        return hours


def _read_stay(path: Path, raw: bytes, hours: _Hours) -> tuple[list[float], list[str], list[float]]:
    """The times, names and values of a stay."""
    lines = decode_text(path, raw).rstrip("\n").split("\n")
    if lines[0] != HEADER:
        raise data_error(path, f"must begin with {HEADER!r}, got {quote_cell(lines[0])}", line=1)
    times, names, values = [], [], []
    for number, line in enumerate(lines[1:], 2):
        try:
            time, name, value = line.split(",")
            if name in ("", "RecordID"):
                continue
            times.append(hours[time])
            values.append(float(value))
            if not math.isfinite(values[-1]):
                raise ValueError(f"{quote_cell(value)} is not finite")
        except ValueError as error:
            reason = f"must be a time, a parameter and a number, got {quote_cell(line)}: {error}"
            raise data_error(path, f"{reason}; copy the file again", line=number) from error
        names.append(name)
    unknown = next((name for name in names if name not in _KNOWN), None)
    if unknown is not None:
        reason = f"parameter must be one of the 41 of the challenge, got {quote_cell(unknown)}"
        raise data_error(path, f"{reason}; copy the file again")
    return times, names, values


_KNOWN = frozenset((*DESCRIPTORS, *VARIABLES))
