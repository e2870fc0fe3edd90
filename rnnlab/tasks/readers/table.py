"""Reader of tables: CSV with any common delimiter, Parquet, and data frames in memory."""

import csv
import io
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnlab.optional import require_module
from rnnlab.tasks.readers.dates import looks_like_date
from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.text import read_bytes, read_text

MISSING = ("", "na", "n/a", "nan", "nat", "null", "none", "?", "-")
"""Cells, in lower case, that mean a missing value."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""Pattern of a number. `float` also accepts `1_000`, `inf` and digits of other scripts."""

COMMA_NUMBER = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d*)?([eE][+-]?\d+)?", re.ASCII)
"""Pattern of a number with a decimal comma, with or without points between thousands."""

TRUTH_VALUES = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
"""Cells, in lower case, that are read as numbers."""

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""What may separate cells, most common first, and its name."""

PARQUET = {".parquet", ".pq"}
"""Suffixes of Parquet files."""

NOT_TABLES = {".npy", ".npz", ".wav", ".xls", ".xlsx", ".ods", ".pkl", ".h5"}
"""Suffixes of files that are no text, and have a better advice than that."""

_SAMPLE_LINES = 20


class Table(NamedTuple):
    """A header and records of cells, as they are written.

    Attributes:
      path: where the table comes from, for messages.
      header: unique names of the columns.
      records: rows of stripped cells.
      lines: the line in the file on which each record starts, from 1.
      notes: sentences on what was detected.
    """

    path: Path
    header: list[str]
    records: list[list[str]]
    lines: list[int]
    notes: tuple[str, ...] = ()

    def index(self, name: str, option: str = "") -> int:
        """Returns the position of a column.

        Args:
          name: of the column.
          option: that names the column on the command line, for the message.

        Raises:
          DataError: no column has that name.
        """
        if name not in self.header:
            reason = f"has no column {name!r}; choose one of {listed(self.header)}"
            raise data_error(self.path, f"{reason} by {option}" if option else reason, line=1)
        return self.header.index(name)

    def cells(self, index: int) -> list[str]:
        """Returns the cells of a column."""
        return [record[index] for record in self.records]

    def numbers(self, index: int) -> np.ndarray:
        """Returns a column as float64, NaN where missing; a decimal comma is detected.

        Raises:
          DataError: a cell is not a finite number.
        """
        cells = self.cells(index)
        has_comma = any("," in cell for cell in cells)
        if has_comma and all(_is_missing(x) or COMMA_NUMBER.fullmatch(x) for x in cells):
            cells = [x if _is_missing(x) else x.replace(".", "").replace(",", ".") for x in cells]
        read = [self._number(x, n, index) for n, x in enumerate(cells)]
        return np.array(read, np.float64)

    def _number(self, cell: str, n: int, index: int) -> float:
        if _is_missing(cell):
            return math.nan
        if (truth := TRUTH_VALUES.get(cell.lower())) is not None:
            return truth
        value = float(cell) if NUMBER.fullmatch(cell) else math.inf
        if math.isinf(value):
            raise data_error(
                self.path,
                f"{quote_cell(cell)} is not a finite number; write one like 1234.5 or leave it "
                "empty",
                line=self.lines[n],
                column=self.header[index],
            )
        return value


def read_table(source: Any, delimiter: str | None = None) -> Table:
    """Reads a table with a header.

    Blank lines are skipped, except in a file of one column, where they are missing values; empty
    lines at the end are dropped.

    Args:
      source: a UTF-8 text file, a Parquet file (`.parquet`), a `pandas.DataFrame`, whose index is a
        column if it has a name or holds dates, or an array (time,), the column `value`.
      delimiter: what separates cells; None detects commas, semicolons, tabs or vertical bars.

    Raises:
      DataError: the source is not such a table; the message names the line, from 1.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.csv")
    ...     _ = file.write_text("day;price\\n2020-01-01;1,5\\n2020-01-02;1.002,25\\n")
    ...     table = read_table(file)
    >>> table.notes, table.numbers(1).tolist()
    (('Cells are separated by semicolons.',), [1.5, 1002.25])
    """
    if isinstance(source, np.ndarray):
        return _array(Path("the array"), source)
    if not isinstance(source, str | os.PathLike):
        return _frame(Path("the data frame"), source)
    path = Path(source)
    if path.suffix.lower() in NOT_TABLES:
        raise data_error(
            path, "must be a CSV or Parquet file; convert it, or pass a frame or an array in memory"
        )
    if path.suffix.lower() in PARQUET:
        return _parquet(path)
    text = read_text(path)
    notes: tuple[str, ...] = ()
    if delimiter is None:
        delimiter = _delimiter(text)
        if delimiter != ",":
            notes = (f"Cells are separated by {DELIMITERS[delimiter]}.",)
    return _csv(path, text, delimiter)._replace(notes=notes)


def listed(names: Sequence[str]) -> str:
    """Returns names as a message shows them: quoted, the first 20 of them."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(map(quote_cell, names[:20])) + more


def _delimiter(text: str) -> str:
    """The delimiter that splits the header into the most cells, and all first lines alike."""
    lines = [line for line in text[: 1 << 16].splitlines() if line.strip()][:_SAMPLE_LINES]
    best, score = ",", (False, 1)
    for delimiter in DELIMITERS:
        try:
            widths = [len(cells) for cells in csv.reader(lines, delimiter=delimiter, strict=True)]
        except csv.Error:
            continue
        found = (len(set(widths)) == 1, widths[0])
        if widths[0] > 1 and found > score:
            best, score = delimiter, found
    return best


def _csv(path: Path, text: str, delimiter: str) -> Table:
    reader = csv.reader(io.StringIO(text, ""), delimiter=delimiter, strict=True)
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
    return _require_records(Table(path, header, records, lines))


def _parquet(path: Path) -> Table:
    raw = read_bytes(path)
    pandas, _ = require_module("pandas"), require_module("pyarrow")
    try:
        frame = pandas.read_parquet(io.BytesIO(raw))
    except Exception as error:  # a corrupt file makes the parsers raise any kind
        raise data_error(path, f"cannot be read as Parquet: {error}; write it again") from error
    return _frame(path, frame)


def _frame(path: Path, frame: Any) -> Table:
    if not hasattr(frame, "columns"):
        raise data_error(path, f"must be a pandas.DataFrame, got {type(frame).__name__}; make one")
    if frame.index.name is not None or frame.index.dtype.kind == "M":
        frame = frame.reset_index(names=frame.index.name or "date")
    header = [str(name) for name in frame.columns]
    _check_header(path, header, None)
    columns = [_column_cells(frame[name]) for name in frame.columns]
    records = [list(record) for record in zip(*columns, strict=True)]
    return _require_records(Table(path, header, records, list(range(1, len(records) + 1))))


def _array(path: Path, values: np.ndarray) -> Table:
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        found = f"{values.dtype} of shape {values.shape}"
        raise data_error(path, f"must be numbers of shape (time,), got {found}; pass a frame")
    records = [["" if np.isnan(x) else str(x)] for x in values]
    return _require_records(Table(path, ["value"], records, list(range(1, len(records) + 1))))


def _column_cells(column: Any) -> list[str]:
    return ["" if missing else str(x) for x, missing in zip(column, column.isna(), strict=True)]


def _require_records(table: Table) -> Table:
    if not table.records:
        raise data_error(table.path, "must have lines under its header, got none; add data")
    return table


def _check_header(path: Path, header: list[str], line: int | None) -> None:
    duplicate = next((name for name in header if header.count(name) > 1), None)
    if duplicate is not None:
        raise data_error(path, f"has two columns {duplicate!r}; rename one", line=line)
    if all(NUMBER.fullmatch(name) or looks_like_date(name) for name in header):
        reason = "must have a header of names, got numbers or dates; add one"
        raise data_error(path, reason, line=line)


def _is_missing(cell: str) -> bool:
    return cell.lower() in MISSING
