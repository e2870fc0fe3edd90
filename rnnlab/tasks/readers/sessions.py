"""Reader of session logs: one line per event of a user with an item, in `session,item,time`."""

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.labelled_table import TIME_NAMES
from rnnlab.tasks.readers.table import Table, listed, read_table
from rnnlab.tasks.readers.times import Times, read_times

NAMES = {
    "session": ("session", "session_id", "sessionid", "session id", "sid"),
    "item": ("item", "item_id", "itemid", "item id", "product", "product_id", "sku"),
    "time": (*TIME_NAMES, "eventdate", "event_time", "timeframe"),
    "action": ("action", "event", "event_type", "operator"),
}
"""Names, in lower case, of the columns that are detected, by field of `SessionColumns`."""

FRACTION = re.compile(r"(\d+-\d+-\d+[T ]\d+:\d+:\d+)(\.\d+)(Z?)", re.ASCII)
"""Pattern of a date with a fraction of a second."""


class SessionLog(NamedTuple):
    """Sessions in the order of their starts, each with its items in the order of their times.

    The events of session k are those from `offsets[k]` up to `offsets[k + 1]`.

    Attributes:
      ids: of the sessions.
      offsets: (sessions + 1,) int64, where the events of a session begin, and of the last one end.
      items: (events,) int32, indices in `names`.
      names: of the items.
      starts: (sessions,) float64, the time of the first event: a number, the hours of a clock, or
        the seconds of a date since 1970.
      kind: of the times: `"number"`, `"clock"` or `"date"`.
      actions: (events,) int32, what the user did at an item, indices in `action_names`, -1 where
        unknown; None where the log has none.
      action_names: of the actions.
      titles: (items) what an item is called in words; empty where the log has no titles.
      notes: sentences on what was detected.
    """

    ids: tuple[str, ...]
    offsets: np.ndarray
    items: np.ndarray
    names: tuple[str, ...]
    starts: np.ndarray
    kind: str
    actions: np.ndarray | None = None
    action_names: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def session(self, number: int) -> np.ndarray:
        """Returns the items of a session, (events,) int32.

        Args:
          number: of the session, from 0.
        """
        return self.items[self.offsets[number] : self.offsets[number + 1]]

    def select(self, numbers: np.ndarray) -> "SessionLog":
        """Returns some of the sessions.

        Args:
          numbers: (sessions,) indices in increasing order.
        """
        lengths = np.diff(self.offsets)
        chosen = np.zeros(len(lengths), bool)
        chosen[numbers] = True
        events = np.repeat(chosen, lengths)
        return self._replace(
            ids=tuple(self.ids[k] for k in numbers),
            offsets=np.concatenate([[0], np.cumsum(lengths[numbers])]),
            items=self.items[events],
            starts=self.starts[numbers],
            actions=None if self.actions is None else self.actions[events],
        )


@dataclass(frozen=True)
class SessionColumns:
    """The columns of a session log by their meaning. None takes one of `NAMES`.

    Attributes:
      session: the column of what distinguishes sessions.
      item: the column of the item.
      time: the column of the time of an event: numbers, dates, or hours and minutes.
      action: the column of what the user did at the item; it may be missing.
    """

    session: str | None = None
    item: str | None = None
    time: str | None = None
    action: str | None = None


def read_sessions(source: Any, columns: SessionColumns | None = None) -> SessionLog:
    """Reads the sessions of a log, of which each line has a session, an item and a time.

    Events of equal time keep the order of the file. Other columns are ignored.

    Args:
      source: a file or a data frame, as `rnnlab.tasks.readers.table.read_table` reads it.
      columns: their meaning.

    Raises:
      DataError: a column is missing or a cell is invalid. Messages count lines from 1.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.csv")
    ...     _ = file.write_text("session,item,time\\nb,x,30\\na,y,7\\nb,y,20\\n")
    ...     log = read_sessions(file)
    >>> log.ids, log.names, log.session(1).tolist()
    (('a', 'b'), ('x', 'y'), [1, 0])
    """
    table, columns = read_table(source), columns or SessionColumns()
    indices = {name: _index(table, name, getattr(columns, name)) for name in NAMES}
    session_cells, item_cells = (_filled(table, indices[name]) for name in ("session", "item"))
    times = _times(table, indices["time"])
    if np.isnan(times.values).any():
        line = table.lines[int(np.isnan(times.values).argmax())]
        raise data_error(table.path, "must have a time; fill it in", line=line)
    session, ids = _numbered(session_cells)
    items, names = _numbered(item_cells)
    actions, action_names = None, ()
    if indices["action"] is not None:
        actions, action_names = _numbered(table.cells(indices["action"]), unknown="")
    log = _sorted(ids, session, items, names, times, actions)
    return log._replace(action_names=action_names, notes=table.notes)


def collect_sessions(
    sessions: list[tuple[str, float, list[int], list[int]]],
    names: tuple[str, ...],
    action_names: tuple[str, ...],
) -> SessionLog:
    """Returns sessions, each an id, the date of its start, its items and its actions, as a log.

    Args:
      sessions: in any order; an action of -1 is unknown.
      names: of the items.
      action_names: of the actions.
    """
    starts = np.array([start for _, start, _, _ in sessions], np.float64)
    order = np.argsort(starts, kind="stable")
    chosen = [sessions[k] for k in order]
    return SessionLog(
        ids=tuple(x[0] for x in chosen),
        offsets=np.cumsum([0, *(len(x[2]) for x in chosen)]),
        items=np.array([item for x in chosen for item in x[2]], np.int32),
        names=names,
        starts=starts[order],
        kind="date",
        actions=np.array([action for x in chosen for action in x[3]], np.int32),
        action_names=action_names,
    )


def _sorted(
    ids: tuple[str, ...],
    session: np.ndarray,
    items: np.ndarray,
    names: tuple[str, ...],
    times: Times,
    actions: np.ndarray | None,
) -> SessionLog:
    """The log of lines in any order."""
    starts = np.full(len(ids), np.inf)
    np.minimum.at(starts, session, times.values)
    by_start = np.argsort(starts, kind="stable")
    position = np.empty(len(ids), np.int64)
    position[by_start] = np.arange(len(ids))
    order = np.lexsort((times.values, position[session]))
    counts = np.bincount(position[session], minlength=len(ids))
    return SessionLog(
        ids=tuple(ids[k] for k in by_start),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        items=items[order],
        names=names,
        starts=starts[by_start],
        kind=times.kind,
        actions=None if actions is None else actions[order],
    )


def _times(table: Table, index: int) -> Times:
    """The times of a column, of which dates may have fractions of a second."""
    matches = [FRACTION.fullmatch(cell) for cell in table.cells(index)]
    if not any(matches):
        return read_times(table, index)
    cells = [
        [cell if match is None else match[1] + match[3]]
        for cell, match in zip(table.cells(index), matches, strict=True)
    ]
    whole = read_times(table._replace(header=[table.header[index]], records=cells), 0)
    fractions = np.array([0.0 if match is None else float(match[2]) for match in matches])
    return whole._replace(values=whole.values + fractions)


def _numbered(cells: list[str], unknown: str | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """The number of each cell, -1 where unknown, and the different cells in alphabetical order."""
    names = sorted(set(cells) - {unknown})
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers.get(cell, -1) for cell in cells], np.int32), tuple(names)


def _filled(table: Table, index: int) -> list[str]:
    """The cells of a column, none of which may be empty."""
    cells = table.cells(index)
    if "" in cells:
        line, name = table.lines[cells.index("")], table.header[index]
        raise data_error(table.path, "must not be empty; fill it in", line=line, column=name)
    return cells


def _index(table: Table, field: str, name: str | None) -> int | None:
    """The position of a column that is named, or has one of `NAMES`; None for no action."""
    option = f"--data.{field}"
    if name is not None:
        return table.index(name, option)
    for known in NAMES[field]:
        for index, header in enumerate(table.header):
            if header.lower() == known:
                return index
    if field == "action":
        return None
    raise data_error(
        table.path,
        f"must have a column named {' or '.join(NAMES[field][:2])}, got {listed(table.header)}; "
        f"name the column of the {field} by {option}",
        line=1,
    )
