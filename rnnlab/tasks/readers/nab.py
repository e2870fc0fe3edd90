"""Reader of the Numenta anomaly benchmark: series and the windows in which they are anomalous."""

import json
import math
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.archive import read_members
from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.text import decode_text

WINDOWS = "labels/combined_windows.json"
HEADER = "timestamp,value"

DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?", re.ASCII)
"""Pattern of a date. NumPy also accepts others, and ignores time zones."""


class LabelledSeries(NamedTuple):
    """A series with anomalous windows.

    Attributes:
      name: its path below `data`, such as realTraffic/speed_7578.csv.
      dates: (time,) datetime64[s], nearly evenly spaced.
      values: (time,) float64.
      windows: (windows, 2) datetime64[s], the first and the last date of each window.
    """

    name: str
    dates: np.ndarray
    values: np.ndarray
    windows: np.ndarray

    def is_anomalous(self) -> np.ndarray:
        """Returns which time steps are in a window, (time,) bool."""
        first, last = self.windows[:, 0], self.windows[:, 1]
        return ((self.dates[:, None] >= first) & (self.dates[:, None] <= last)).any(axis=1)


def read_nab(path: str | os.PathLike) -> tuple[LabelledSeries, ...]:
    """Reads all series of the benchmark, by name.

    Args:
      path: an archive or a folder with the folders `data` and `labels` of the benchmark's
        repository.

    Raises:
      DataError: there is no series or no file of windows, or one is not of the format.
    """
    path = Path(path)
    members = read_members(path, ".csv", ".json")
    tables = {name: raw for name, raw in members.items() if name.startswith("data/")}
    if WINDOWS not in members or not tables:
        reason = f"must have data/*/*.csv and {WINDOWS}, got {len(tables)} series"
        raise data_error(path, f"{reason}; give the folder or archive of the benchmark")
    file = path / WINDOWS
    try:
        windows = json.loads(decode_text(file, members[WINDOWS]))
        found = {
            name: np.array([_date(x) for span in spans for x in span], "M8[s]").reshape(-1, 2)
            for name, spans in windows.items()
        }
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = f"must map each series to its windows, pairs of dates: {error}; copy it again"
        raise data_error(file, reason) from error
    read = []
    for member, raw in tables.items():
        name = member.removeprefix("data/")
        if name not in found:
            raise data_error(file, f"must have the windows of {name}, got none; copy it again")
        read.append(LabelledSeries(name, *_read_series(path / member, raw), found[name]))
    return tuple(read)


def _read_series(path: Path, raw: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The dates and the values of a series."""
    lines = decode_text(path, raw).rstrip("\n").split("\n")
    if lines[0] != HEADER or len(lines) == 1:
        reason = f"must have the header {HEADER!r} and lines below it, got {len(lines)} lines"
        raise data_error(path, f"{reason}; copy the file again", line=1)
    dates, values = [], []
    for number, line in enumerate(lines[1:], 2):
        date, _, value = line.partition(",")
        try:
            dates.append(_date(date))
            values.append(float(value))
            if not math.isfinite(values[-1]):
                raise ValueError(f"{quote_cell(value)} is not finite")
        except ValueError as error:
            reason = f"must be a date and a number: {error}; copy the file again"
            raise data_error(path, reason, line=number) from error
    return np.array(dates), np.array(values)


def _date(cell: str) -> np.datetime64:
    if not DATE.fullmatch(cell):
        raise ValueError(f"{quote_cell(cell)} is not a date like 2014-04-01 06:30:00")
    return np.datetime64(cell, "s")
