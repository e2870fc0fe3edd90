"""Reader of a column of a CSV file as an evenly spaced series, with NaN at gaps."""

import csv
import io
import math
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.dates import calendar, parse_date
from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.text import read_text

MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")
"""Cells, in lower case, that mean a missing value."""

DATE_NAMES = ("date", "dates", "datetime", "timestamp", "ds")
"""Names, in lower case, of columns that are dates, whatever their cells are."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""Pattern of a number. `float` also accepts `1_000`, `inf` and digits of other scripts."""


class Series(NamedTuple):
    """An evenly spaced series.

    Attributes:
      values: (time,) float64, NaN where missing.
      column: the name of the values' column.
      dates: (time,) datetime64[s], or None where the file has none.
      days: mean days per time step; None without dates.
    """

    values: np.ndarray
    column: str
    dates: np.ndarray | None = None
    days: float | None = None


def read_series(
    path: str | os.PathLike,
    column: str | None = None,
    date: str | None = None,
    *,
    delimiter: str = ",",
) -> Series:
    """Reads one column of a CSV file with a header.

    Empty cells and those in `MISSING` are gaps. So are dates that are missing from the even spacing
    of the others. Blank lines are skipped, except in a file of one column, where they are gaps;
    empty lines at the end are dropped.

    Args:
      path: the file, UTF-8.
      column: name of the column of values; None takes the only column besides the date.
      date: name of the column of dates; None takes the first whose name is in `DATE_NAMES`, else
        the first whose first cell is a date and not a number, else none: lines are time steps.
      delimiter: what separates cells.

    Raises:
      DataError: the file is not such a table; the message names the line, from 1, and the column.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.csv")
    ...     _ = file.write_text("date,price\\n2020-01-01,1.5\\n2020-01-02,\\n2020-01-04,2.5\\n")
    ...     read_series(file, "price").values
    array([1.5, nan, nan, 2.5])
    """
    path = Path(path)
    header, records, lines = _table(path, delimiter)
    date_index = _date_column(path, header, records, date)
    index = _value_column(path, header, date_index, column)
    name = header[index]
    cells = [(record[index], line) for record, line in zip(records, lines, strict=True)]
    values = np.array([_number(path, cell, line, name) for cell, line in cells])
    if np.isnan(values).all():
        raise data_error(path, "has no value, all cells are missing; omit the column", column=name)
    if date_index is None:
        return Series(values, name)
    date_name = header[date_index]
    cells = [(record[date_index], line) for record, line in zip(records, lines, strict=True)]
    dates = np.array([_date(path, cell, line, date_name) for cell, line in cells])
    even = calendar(path, dates, np.array(lines), date_name)
    with_gaps = np.full(len(even.dates), np.nan)
    with_gaps[even.indices] = values
    return Series(with_gaps, name, even.dates, even.days)


def _table(path: Path, delimiter: str) -> tuple[list[str], list[list[str]], list[int]]:
    """Returns the header, the records below it and the line on which each record starts."""
    reader = csv.reader(io.StringIO(read_text(path), ""), delimiter=delimiter, strict=True)
    header, records, lines, line = [], [], [], 1
    try:
        for record in reader:
            record = [cell.strip() for cell in record]
            if any(record) and not header:
                header = record
                _check_header(path, header, line)
            elif header and (record or len(header) == 1):
                record = record or [""]
                if len(record) != len(header):
                    reason = f"must have {len(header)} cells, as the header, got {len(record)}"
                    raise data_error(path, f"{reason}; add or remove cells", line=line)
                records.append(record)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise data_error(path, f"cannot be split into cells: {error}", line=line) from error
    while records and not any(records[-1]):
        del records[-1], lines[-1]
    if not records:
        raise data_error(path, "must have lines under its header, got none; add data")
    return header, records, lines


def _check_header(path: Path, header: list[str], line: int) -> None:
    duplicate = next((name for name in header if header.count(name) > 1), None)
    if duplicate is not None:
        raise data_error(path, f"has two columns {duplicate!r}; rename one", line=line)
    if all(NUMBER.fullmatch(name) or parse_date(name) is not None for name in header):
        reason = "must have a header of names, got numbers or dates; add one"
        raise data_error(path, reason, line=line)


def _date_column(
    path: Path, header: list[str], records: list[list[str]], date: str | None
) -> int | None:
    if date is not None:
        return _index(path, header, date)
    for index, name in enumerate(header):
        if name.lower() in DATE_NAMES:
            return index
    for index, cell in enumerate(records[0]):
        if not NUMBER.fullmatch(cell) and parse_date(cell) is not None:
            return index
    return None


def _value_column(path: Path, header: list[str], date_index: int | None, column: str | None) -> int:
    if column is not None:
        return _index(path, header, column)
    others = [index for index in range(len(header)) if index != date_index]
    if len(others) != 1:
        raise data_error(path, f"column must be given, got None; choose one of {_listed(header)}")
    return others[0]


def _index(path: Path, header: list[str], name: str) -> int:
    if name not in header:
        raise data_error(path, f"has no column {name!r}; choose one of {_listed(header)}", line=1)
    return header.index(name)


def _listed(header: list[str]) -> str:
    more = f" and {len(header) - 20} more" if len(header) > 20 else ""
    return ", ".join(map(quote_cell, header[:20])) + more


def _number(path: Path, cell: str, line: int, column: str) -> float:
    if cell.lower() in MISSING:
        return math.nan
    value = float(cell) if NUMBER.fullmatch(cell) else math.inf
    if math.isinf(value):
        raise data_error(
            path,
            f"{quote_cell(cell)} is not a finite number; write one like 1234.5 or leave it empty",
            line=line,
            column=column,
        )
    return value


def _date(path: Path, cell: str, line: int, column: str) -> np.datetime64:
    date = parse_date(cell)
    if date is None:
        raise data_error(
            path,
            f"{quote_cell(cell)} is not a date; write 2020-01-31 or 2020-01-31 06:30",
            line=line,
            column=column,
        )
    return date
