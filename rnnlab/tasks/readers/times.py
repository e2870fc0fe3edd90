"""A column of times: numbers, dates, or hours and minutes."""

import re
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.dates import parse_dates
from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.table import NUMBER, Table

CLOCK = re.compile(r"(\d+):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?", re.ASCII)
"""Pattern of hours and minutes, and maybe seconds, since a start: 47:30 is more than a day."""


class Times(NamedTuple):
    """The times of a column, by which its lines are ordered.

    Attributes:
      values: (lines,) float64: the numbers, hours of a clock, or seconds of dates since 1970.
      kind: `"number"`, `"clock"` or `"date"`.
    """

    values: np.ndarray
    kind: str


def read_times(table: Table, index: int) -> Times:
    """Returns the times of a column, in the one of three kinds that all its cells have.

    Args:
      table: with the column.
      index: its position.

    Raises:
      DataError: a cell is of another kind than most others; the message names its line.

    >>> from pathlib import Path
    >>> table = Table(Path("a.csv"), ["time"], [["00:30"], ["25:00"]], [2, 3])
    >>> read_times(table, 0)
    Times(values=array([ 0.5, 25. ]), kind='clock')
    """
    cells = table.cells(index)
    # Long tables have few different times, and dates are slow to parse.
    different, positions = np.unique(np.array(cells, str), return_inverse=True)
    different = different.tolist()
    if all(NUMBER.fullmatch(cell) for cell in different):
        return Times(np.array(different, float)[positions], "number")
    clocks = [CLOCK.fullmatch(cell) for cell in different]
    if all(clocks):
        return Times(np.array([clock_hours(match) for match in clocks])[positions], "clock")
    try:
        dates, _ = parse_dates(different)
    except ValueError as error:
        raise data_error(table.path, str(error), column=table.header[index]) from None
    if not np.isnat(dates).any():
        return Times(dates.astype(np.int64).astype(float)[positions], "date")
    kinds = {
        "date": ~np.isnat(dates)[positions],
        "number": np.array([NUMBER.fullmatch(cell) is not None for cell in cells]),
        "time like 06:30": np.array([match is not None for match in clocks])[positions],
    }
    kind = max(kinds, key=lambda name: kinds[name].sum())
    row = int(kinds[kind].argmin())
    reason = f"{quote_cell(cells[row])} is not a {kind}, as the others; correct it"
    raise data_error(table.path, reason, line=table.lines[row], column=table.header[index])


def clock_hours(match: re.Match) -> float:
    """Returns the hours of a match of `CLOCK`."""
    hours, minutes, seconds = match.groups()
    return int(hours) + int(minutes) / 60 + float(seconds or 0) / 3600
