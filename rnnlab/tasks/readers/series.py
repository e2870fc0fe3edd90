"""Reader of evenly spaced series from the columns of a table, with NaN at gaps."""

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rnnlab.tasks.readers.dates import (
    calendar,
    looks_like_date,
    parse_dates,
    parse_with_format,
)
from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.table import NUMBER, Table, listed, read_table

DATE_NAMES = ("date", "dates", "datetime", "timestamp", "ds")
"""Names, in lower case, of columns that are dates, whatever their cells are."""

HOUR = re.compile(r"\d{1,2}", re.ASCII)
"""A time of day that is an hour."""

_OPTIONS = {
    "values": "--data.column",
    "date": "--data.date",
    "series": "--data.series-id",
    "covariates": "--data.covariates",
    "known_covariates": "--data.known-covariates",
}
"""Options of the command line by field of `SeriesColumns`."""


class Series(NamedTuple):
    """Series on one calendar: one of them, or the series of a panel.

    Attributes:
      values: (series, time, columns) float64, NaN where missing.
      columns: names of the columns of values.
      covariates: (series, time, covariates) float64, NaN where missing.
      known_covariates: the same, of the covariates that are known ahead.
      names: of the series of a panel; a single series has an empty name.
      dates: (time,) datetime64[s], or None where the table has none.
      days: mean days per time step; None without dates.
      notes: sentences on what was detected.
      date: name of the column of dates; None without dates.
      unused: names of the columns of the table that have no meaning.
    """

    values: np.ndarray
    columns: tuple[str, ...]
    covariates: np.ndarray
    known_covariates: np.ndarray
    names: tuple[str, ...] = ("",)
    dates: np.ndarray | None = None
    days: float | None = None
    notes: tuple[str, ...] = ()
    date: str | None = None
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeriesColumns:
    """The columns of a table by their meaning.

    Several names are separated by commas.

    Attributes:
      values: the columns to forecast; None: the only column that is nothing else.
      date: the column of dates, or that of dates and that of hours or times of day; None takes the
        first whose name is in `DATE_NAMES`, else the first whose first cell is a date and not a
        number, else none: lines are time steps.
      date_format: of `datetime.strptime`; None detects it, see `parse_dates`.
      series: the column that names the series of a line; None: there is one series.
      covariates: columns that are inputs only.
      known_covariates: columns that are inputs only, and known before their date.
    """

    values: str | None = None
    date: str | None = None
    date_format: str | None = None
    series: str | None = None
    covariates: str | None = None
    known_covariates: str | None = None


def read_series(
    source: Any, columns: SeriesColumns | None = None, *, names_options: bool = True
) -> Series:
    """Reads evenly spaced series from a table.

    Empty cells and those in `MISSING` are gaps. So are dates that are missing from the even spacing
    of all dates. The series of a panel share one calendar: values before the first line of a series
    and after its last are missing.

    Args:
      source: a CSV or Parquet file or a `pandas.DataFrame`, see `read_table`.
      columns: what the columns are.
      names_options: whether messages name the options of the command line that choose columns.

    Raises:
      DataError: a column is missing or a cell is invalid; the message names the line, from 1, and
        the column.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.csv")
    ...     _ = file.write_text("date,price\\n2020-01-01,1.5\\n2020-01-02,\\n2020-01-04,2.5\\n")
    ...     read_series(file).values[0, :, 0]
    array([1.5, nan, nan, 2.5])
    """
    columns = columns or SeriesColumns()
    table = read_table(source)
    options = _OPTIONS if names_options else dict.fromkeys(_OPTIONS, "")
    date_indices = _date_columns(table, columns.date, options["date"])
    date_index = date_indices[0] if date_indices else None
    series_index = None
    if columns.series is not None:
        series_index = table.index(columns.series, options["series"])
    covariates = _indices(table, columns.covariates, options["covariates"])
    known_covariates = _indices(table, columns.known_covariates, options["known_covariates"])
    others = {*date_indices, series_index, *covariates, *known_covariates}
    indices = _indices(table, columns.values, options["values"])
    indices = indices or [_only_column(table, others)]
    parts = [_numbers(table, part) for part in (indices, covariates, known_covariates)]
    names = tuple(table.header[index] for index in indices)
    for k, name in enumerate(names):
        if np.isnan(parts[0][:, k]).all():
            reason = "has no value, all cells are missing; omit the column"
            raise data_error(table.path, reason, column=name)
    count = len(table.records)
    labels = [""] * count if series_index is None else table.cells(series_index)
    groups, group = np.unique(labels, return_inverse=True)
    dates, days, notes = None, None, table.notes
    if date_index is None:
        step = np.zeros(count, np.int64)
        for k in range(len(groups)):
            step[group == k] = np.arange((group == k).sum())
        size = int(step.max()) + 1
    else:
        given, note = _dates(table, date_indices, columns.date_format)
        dates, days, step = _on_calendar(table, date_index, given, group)
        size, notes = len(dates), notes + note
    placed = []
    for part in parts:
        placed.append(np.full((len(groups), size, part.shape[1]), np.nan))
        placed[-1][group, step] = part
    values, *inputs = placed
    used = {*others, *indices}
    return Series(
        values,
        names,
        *inputs,
        tuple(groups.tolist()),
        dates,
        days,
        notes,
        None if date_index is None else table.header[date_index],
        tuple(name for index, name in enumerate(table.header) if index not in used),
    )


def _indices(table: Table, names: str | None, option: str) -> list[int]:
    """The positions of the columns of a comma-separated list."""
    if names is None:
        return []
    if names in table.header:  # a name may contain a comma
        return [table.index(names)]
    return [table.index(name.strip(), option) for name in names.split(",")]


def _numbers(table: Table, indices: list[int]) -> np.ndarray:
    columns = [table.numbers(index) for index in indices]
    return np.stack(columns, axis=1) if columns else np.zeros((len(table.records), 0))


def _on_calendar(
    table: Table, index: int, dates: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray]:
    """The even dates of all series, their distance in days, and the time step of each line."""
    name, lines = table.header[index], np.array(table.lines)
    if group.max() == 0:
        even = calendar(table.path, dates, lines, name)
        return even.dates, even.days, even.indices
    for k in range(group.max() + 1):
        order = np.argsort(dates[group == k], kind="stable")
        own = dates[group == k][order]
        if (own[1:] == own[:-1]).any():
            n = int((own[1:] == own[:-1]).argmax()) + 1
            reason = f"has {own[n]} twice in one series; keep one line per date and series"
            raise data_error(table.path, reason, line=int(lines[group == k][order][n]), column=name)
    unique, first, inverse = np.unique(dates, return_index=True, return_inverse=True)
    even = calendar(table.path, unique, lines[first], name)
    return even.dates, even.days, even.indices[inverse]


def _date_columns(table: Table, date: str | None, option: str) -> list[int]:
    """The positions of the column of dates, and of that of times of day where it is given."""
    if date is not None:
        found = _indices(table, date, option)
        if len(found) > 2:
            reason = f"date must name one column or two, got {date!r}; name that of times second"
            raise data_error(table.path, reason)
        return found
    for index, name in enumerate(table.header):
        if name.lower() in DATE_NAMES:
            return [index]
    for index, cell in enumerate(table.records[0]):
        if not NUMBER.fullmatch(cell) and looks_like_date(cell):
            return [index]
    return []


def _only_column(table: Table, known: set[int | None]) -> int:
    others = [index for index in range(len(table.header)) if index not in known]
    if not others:
        reason = f"must have a column of values, got {listed(table.header)}; add one"
        raise data_error(table.path, reason)
    if len(others) > 1:
        names = listed([table.header[index] for index in others])
        reason = f"column must be given, got None; choose one or more of {names} by --data.column"
        raise data_error(table.path, reason)
    return others[0]


def _dates(
    table: Table, indices: list[int], form: str | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The dates of one column or two, and a sentence if their format was detected."""
    cells, name = table.cells(indices[0]), table.header[indices[0]]
    for index in indices[1:]:
        times = (f"{x:0>2}:00" if HOUR.fullmatch(x) else x for x in table.cells(index))
        cells = [f"{day} {time}" for day, time in zip(cells, times, strict=True)]
    if form is not None:
        dates, notes = parse_with_format(cells, form), ()
        expected = f"write dates like {form}"
    else:
        try:
            dates, found = parse_dates(cells)
        except ValueError as error:
            raise data_error(table.path, str(error), column=name) from None
        is_iso = found.startswith("ISO")
        notes = () if is_iso else (f"Dates of column {name!r} are read as {found}.",)
        expected = "write 2020-01-31 or 2020-01-31 06:30" if is_iso else f"write it like {found}"
    wrong = np.isnat(dates)
    if wrong.any():
        n = int(wrong.argmax())
        reason = f"{quote_cell(cells[n])} is not a date; {expected}"
        raise data_error(table.path, reason, line=table.lines[n], column=name)
    return dates, notes
