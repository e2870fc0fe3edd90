"""A column of a CSV file as an evenly spaced series, its gaps as NaN."""

import csv
import io
import math
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.dates import calendar, parse_date
from rnnlab.tasks.readers.errors import refuse, shown
from rnnlab.tasks.readers.text import read_text

MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")
"""Cells, in small letters, that stand for a missing value."""

DATE_NAMES = ("date", "dates", "datetime", "timestamp", "ds")
"""Names, in small letters, of columns that are taken for dates without a look at their cells."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""A number. `float` would also take `1_000`, `inf` and digits of other scripts."""


class Series(NamedTuple):
    """An evenly spaced series.

    Attributes:
      values: (time,) float64, NaN where missing.
      column: the name of the values' column.
      dates: (time,) datetime64[s], or None where the file has none.
      days: mean days a step; None without dates.
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

    Empty cells and those of `MISSING` are gaps, and so are dates that are not there where the
    others are evenly spaced. Blank lines are skipped, but in a file of one column, where they are
    gaps; empty rows at the end are dropped. Row numbers in errors are line numbers from 1.

    Args:
      path: the file, UTF-8.
      column: name of the values' column; None takes the only one beside the date.
      date: name of the dates' column; None takes the first whose name is in `DATE_NAMES`, else the
        first whose first cell is a date and no number, else none: rows are then the steps.
      delimiter: what separates cells.

    Raises:
      DataError: the file is no such table; the message names row and column.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.csv")
    ...     _ = file.write_text("date,price\\n2020-01-01,1.5\\n2020-01-02,\\n2020-01-04,2.5\\n")
    ...     read_series(file, "price").values
    array([1.5, nan, nan, 2.5])
    """
    path = Path(path)
    header, rows, lines = _table(path, delimiter)
    where = _date_column(path, header, rows, date)
    at = _value_column(path, header, where, column)
    name = header[at]
    cells = [(row[at], line) for row, line in zip(rows, lines, strict=True)]
    values = np.array([_number(path, cell, line, name) for cell, line in cells])
    if np.isnan(values).all():
        raise refuse(path, "has no value, all cells are missing; leave it out", column=name)
    if where is None:
        return Series(values, name)
    dates = np.array(
        [
            _date(path, row[where], line, header[where])
            for row, line in zip(rows, lines, strict=True)
        ]
    )
    even = calendar(path, dates, np.array(lines), header[where])
    laid = np.full(len(even.dates), np.nan)
    laid[even.places] = values
    return Series(laid, name, even.dates, even.days)


def _table(path: Path, delimiter: str) -> tuple[list[str], list[list[str]], list[int]]:
    """The header, the rows and the line on which each begins."""
    reader = csv.reader(io.StringIO(read_text(path), ""), delimiter=delimiter, strict=True)
    header, rows, lines, line = [], [], [], 1
    try:
        for row in reader:
            row = [cell.strip() for cell in row]
            if any(row) and not header:
                header = row
                _check_header(path, header, line)
            elif header and (row or len(header) == 1):
                row = row or [""]
                if len(row) != len(header):
                    reason = f"has {len(row)} cells; {len(header)}, as the header, are needed"
                    raise refuse(path, reason, row=line)
                rows.append(row)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise refuse(path, f"cannot be split into cells: {error}", row=line) from error
    while rows and not any(rows[-1]):
        del rows[-1], lines[-1]
    if not rows:
        raise refuse(path, "has no row under its header; a header and rows are needed")
    return header, rows, lines


def _check_header(path: Path, header: list[str], line: int) -> None:
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise refuse(path, f"column {twice!r} is there twice; rename one", row=line)
    if all(NUMBER.fullmatch(name) or parse_date(name) is not None for name in header):
        reason = "the first row is numbers or dates; a header with names is needed"
        raise refuse(path, reason, row=line)


def _date_column(
    path: Path, header: list[str], rows: list[list[str]], date: str | None
) -> int | None:
    if date is not None:
        return _index(path, header, date)
    for at, name in enumerate(header):
        if name.lower() in DATE_NAMES:
            return at
    for at, cell in enumerate(rows[0]):
        if not NUMBER.fullmatch(cell) and parse_date(cell) is not None:
            return at
    return None


def _value_column(path: Path, header: list[str], where: int | None, column: str | None) -> int:
    if column is not None:
        return _index(path, header, column)
    others = [at for at in range(len(header)) if at != where]
    if len(others) != 1:
        raise refuse(path, f"column is None; one of {_listed(header)} is needed")
    return others[0]


def _index(path: Path, header: list[str], name: str) -> int:
    if name not in header:
        raise refuse(path, f"has no column {name!r}; it has {_listed(header)}", row=1)
    return header.index(name)


def _listed(header: list[str]) -> str:
    more = f" and {len(header) - 20} more" if len(header) > 20 else ""
    return ", ".join(map(shown, header[:20])) + more


def _number(path: Path, cell: str, line: int, column: str) -> float:
    if cell.lower() in MISSING:
        return math.nan
    value = float(cell) if NUMBER.fullmatch(cell) else math.inf
    if math.isinf(value):
        raise refuse(
            path,
            f"{shown(cell)} is not a finite number; write one like 1234.5, or leave the cell empty",
            row=line,
            column=column,
        )
    return value


def _date(path: Path, cell: str, line: int, column: str) -> np.datetime64:
    date = parse_date(cell)
    if date is None:
        raise refuse(
            path,
            f"{shown(cell)} is not a date; write 2020-01-31 or 2020-01-31 06:30",
            row=line,
            column=column,
        )
    return date
