"""Dates of a series: parsed, and laid on an even calendar so that gaps show."""

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.errors import refuse

MOST_GAPS = 10
"""The most missing dates for each one there: beyond, the spacing is taken for a mistake."""


class Calendar(NamedTuple):
    """Where the rows of a file stand among evenly spaced dates.

    Attributes:
      dates: (time,) datetime64[s], first to last without a gap.
      places: (rows,) the row's index among `dates`.
      days: mean days from one date to the next.
    """

    dates: np.ndarray
    places: np.ndarray
    days: float


def parse_date(cell: str) -> np.datetime64 | None:
    """A date as datetime64[s] in UTC, or None where the cell is none.

    ISO 8601 to the second is read, with `/` for `-` as well, and years or months alone. Day or
    month first is not: 01/02/2020 has two meanings.

    >>> parse_date("2020/01/31 06:30"), parse_date("31.01.2020")
    (np.datetime64('2020-01-31T06:30:00'), None)
    """
    cell = cell.strip().replace("/", "-")
    if not cell.isascii():
        return None
    if len(cell) == 4 and cell.isdigit():
        cell += "-01-01"
    elif len(cell) == 7 and cell[4] == "-":
        cell += "-01"
    try:
        date = datetime.fromisoformat(cell)
        if date.tzinfo is not None:
            date = date.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    return None if date.microsecond else np.datetime64(date, "s")


def calendar(path: Path, dates: np.ndarray, rows: np.ndarray, column: str) -> Calendar:
    """The even spacing of a file's dates: calendar months where they agree with that, else seconds.

    The commonest distance between neighbours is the step, and each distance must be a whole number
    of steps.

    Args:
      path, rows, column: the file, the line number of each date and the name of their column, for
        messages.
      dates: (rows,) datetime64[s], at least 2.

    Raises:
      DataError: dates are too few, equal, unsorted or uneven, or far apart against their spacing.

    >>> days = np.array(["2020-01-31", "2020-02-29", "2020-04-30"], "datetime64[s]")
    >>> calendar(Path("a.csv"), days, np.arange(2, 5), "date").places.tolist()
    [0, 1, 3]
    """
    if len(dates) < 2:
        raise refuse(path, "has fewer than 2 dates; a series is needed", column=column)
    seconds = dates.astype(np.int64)
    for wrong, reason in (
        (np.diff(seconds) == 0, "{0} is there twice; keep one row a date"),
        (np.diff(seconds) < 0, "{0} comes after a later date; sort the rows by date"),
    ):
        if wrong.any():
            at = int(wrong.argmax()) + 1
            raise refuse(path, reason.format(dates[at]), row=int(rows[at]), column=column)
    months = _months(dates)
    units = seconds if months is None else months
    distances, counts = np.unique(np.diff(units), return_counts=True)
    step = int(distances[counts.argmax()])
    uneven = np.diff(units) % step != 0
    if uneven.any():
        at = int(uneven.argmax()) + 1
        raise refuse(
            path,
            f"{dates[at]} is no whole number of steps after {dates[at - 1]}, where the commonest "
            f"step is {_named(step, months)}; put the dates on even steps",
            row=int(rows[at]),
            column=column,
        )
    places = (units - units[0]) // step
    size = int(places[-1]) + 1
    if size > (MOST_GAPS + 1) * len(dates):
        raise refuse(
            path,
            f"{len(dates)} dates stand on {size} steps of {_named(step, months)}; at most "
            f"{MOST_GAPS} missing dates for each one there are read: check the dates",
            column=column,
        )
    if months is None:
        even = (seconds[0] + np.arange(size) * step).astype("datetime64[s]")
    else:
        first = (units[0] + np.arange(size) * step).astype("datetime64[M]")
        within = _within_month(dates)
        even = (first + (within is None)).astype("datetime64[s]")
        # An end of month is the day before the next month's first.
        even += np.timedelta64(-1, "D") if within is None else within
    days = (seconds[-1] - seconds[0]) / 86400 / (size - 1)
    return Calendar(even, places, float(days))


def _months(dates: np.ndarray) -> np.ndarray | None:
    """The dates as numbers of months, where all are the same moment of one or month ends."""
    month = dates.astype("datetime64[M]")
    if len(np.unique(month)) < len(month):
        return None
    if _within_month(dates) is None:
        ends = dates.astype("datetime64[D]").astype("datetime64[s]") == dates
        ends &= (dates + np.timedelta64(1, "D")).astype("datetime64[M]") == month + 1
        if not ends.all():
            return None
    return month.astype(np.int64)


def _within_month(dates: np.ndarray) -> np.timedelta64 | None:
    """The moment of the month at which all the dates are, or None."""
    within = np.unique(dates - dates.astype("datetime64[M]").astype("datetime64[s]"))
    return within[0] if len(within) == 1 else None


def _named(step: int, months: np.ndarray | None) -> str:
    if months is not None:
        return f"{step} months"
    return f"{step / 86400:g} days" if step % 86400 == 0 else f"{step} seconds"
