"""Reader of long event tables: one line per measurement of one variable at one time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.labelled_table import TIME_NAMES
from rnnlab.tasks.readers.table import Table, listed, read_table
from rnnlab.tasks.readers.times import read_times

NAMES = {
    "id": (
        "id",
        "record",
        "recordid",
        "record_id",
        "patient",
        "patient_id",
        "subject_id",
        "stay_id",
    ),
    "time": (*TIME_NAMES, "charttime", "hour", "hours", "minute", "minutes"),
    "variable": ("variable", "parameter", "feature", "measurement", "signal", "name", "itemid"),
    "value": ("value", "valuenum", "result"),
}
"""Names, in lower case, of the columns that are detected, by field of `EventColumns`."""


class Events(NamedTuple):
    """Measurements of several variables at irregular times, of several records.

    Events are ordered by record, then by time, then as they were written. The events of record k
    are those from `offsets[k]` up to `offsets[k + 1]`.

    Attributes:
      ids: what distinguishes the records, in the order in which they first occur.
      variables: names of the variables.
      offsets: (records + 1,) int64, where the events of a record begin, and of the last one end.
      times: (events,) float64, in `unit`.
      variable: (events,) int32, indices in `variables`.
      values: (events,) float64, without NaN.
      unit: `"hours"` for clock times and dates, empty for numbers in a unit of the table.
      starts: (records,) datetime64[s], the date at which the time of a record is 0, which is its
        first; None if times are not dates.
      notes: sentences on what was detected.
    """

    ids: tuple[str, ...]
    variables: tuple[str, ...]
    offsets: np.ndarray
    times: np.ndarray
    variable: np.ndarray
    values: np.ndarray
    unit: str = ""
    starts: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def record(self, number: int) -> "Record":
        """Returns a record as one line of values per distinct time.

        Of several values of a variable at one time, the last one counts.

        Args:
          number: of the record, from 0.
        """
        part = slice(self.offsets[number], self.offsets[number + 1])
        times, step = np.unique(self.times[part], return_inverse=True)
        values = np.full((len(times), len(self.variables)), np.nan)
        # NumPy assigns in order, so that the last value of equal indices stays.
        values[step, self.variable[part]] = self.values[part]
        return Record(times, values)


class Record(NamedTuple):
    """One irregular record.

    Attributes:
      times: (time,) float64, distinct and ascending.
      values: (time, variables) float64, NaN where a variable was not measured.
    """

    times: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class EventColumns:
    """The columns of an event table by their meaning. None takes one of `NAMES`.

    Attributes:
      id: the column of what distinguishes records.
      time: the column of the time of a measurement: numbers, dates, or hours and minutes.
      variable: the column of what was measured.
      value: the column of the measured number.
    """

    id: str | None = None
    time: str | None = None
    variable: str | None = None
    value: str | None = None


def read_events(
    source: Any,
    columns: EventColumns | None = None,
    *,
    variables: Sequence[str] | None = None,
) -> Events:
    """Reads the measurements of a long table.

    Lines without a value are skipped. Dates become hours since the first line of their record.

    Args:
      source: a file or a data frame, as `rnnlab.tasks.readers.table.read_table` reads it.
      columns: their meaning.
      variables: the variables to read, in this order, whether they occur or not; None takes all, in
        alphabetical order.

    Raises:
      DataError: a column is missing or a cell is invalid. Messages count lines from 1.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.csv")
    ...     text = "id,time,variable,value\\n7,00:30,HR,80\\n7,00:00,HR,75\\n7,00:00,Temp,37.5\\n"
    ...     _ = file.write_text(text)
    ...     events = read_events(file)
    >>> events.variables, events.unit
    (('HR', 'Temp'), 'hours')
    >>> events.record(0)
    Record(times=array([0. , 0.5]), values=array([[75. , 37.5],
           [80. ,  nan]]))
    """
    table, columns = read_table(source), columns or EventColumns()
    indices = {name: _index(table, name, getattr(columns, name)) for name in NAMES}
    values = table.numbers(indices["value"])
    names = table.cells(indices["variable"])
    cells = table.cells(indices["id"])
    for index, found in ((indices["id"], cells), (indices["variable"], names)):
        if "" in found:
            line = table.lines[found.index("")]
            reason = "must not be empty; fill it in"
            raise data_error(table.path, reason, line=line, column=table.header[index])
    times = read_times(table, indices["time"])
    numbers: dict[str, int] = {}
    record = np.array([numbers.setdefault(cell, len(numbers)) for cell in cells])
    notes = list(table.notes)
    if missing := int(np.isnan(values).sum()):
        notes.append(f"{missing} of {len(values)} lines have no value and are skipped.")
    hours, starts = times.values, None
    if times.kind == "date":
        first = np.full(len(numbers), np.inf)
        np.minimum.at(first, record, times.values)
        hours = (times.values - first[record]) / 3600
        starts = first.astype(np.int64).astype("datetime64[s]")
    events = collect_events(tuple(numbers), record, hours, names, values, variables)
    unit = "" if times.kind == "number" else "hours"
    return events._replace(unit=unit, starts=starts, notes=tuple(notes))


def collect_events(
    ids: tuple[str, ...],
    record: np.ndarray,
    times: np.ndarray,
    names: Sequence[str],
    values: np.ndarray,
    variables: Sequence[str] | None = None,
) -> Events:
    """Returns measurements, ordered by record and time.

    Args:
      ids: of the records.
      record: (lines,) integers, the number of each line's record.
      times: (lines,) float64.
      names: the variable of each line.
      values: (lines,) float64; lines with NaN are skipped.
      variables: the variables to take, in this order; None takes all, in alphabetical order.
    """
    chosen = tuple(sorted(set(names)) if variables is None else variables)
    position = {name: number for number, name in enumerate(chosen)}
    variable = np.array([position.get(name, -1) for name in names], np.int32)
    kept = np.flatnonzero((variable >= 0) & ~np.isnan(values))
    kept = kept[np.lexsort((times[kept], record[kept]))]
    counts = np.bincount(record[kept], minlength=len(ids))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Events(ids, chosen, offsets, times[kept], variable[kept], values[kept])


def _index(table: Table, field: str, name: str | None) -> int:
    """The position of a column that is named, or has one of `NAMES`."""
    option = f"--data.{field}"
    if name is not None:
        return table.index(name, option)
    for known in NAMES[field]:
        for index, header in enumerate(table.header):
            if header.lower() == known:
                return index
    raise data_error(
        table.path,
        f"must have a column named {' or '.join(NAMES[field][:2])}, got {listed(table.header)}; "
        f"name the column of the {field} by {option}",
        line=1,
    )
