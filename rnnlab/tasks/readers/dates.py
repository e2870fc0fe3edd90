"""Dates of a series: parsed, and placed on an even calendar, which shows gaps."""

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.errors import data_error

MAX_GAP_RATIO = 10
"""Greatest ratio of missing dates to dates: beyond it, the dates are likely to be wrong."""


class Calendar(NamedTuple):
    """Evenly spaced dates, and the indices of given dates among them.

    Attributes:
      dates: (time,) datetime64[s], from first to last without a gap.
      indices: (given,) index in `dates` of each given date.
      days: mean days from one date to the next.
    """

    dates: np.ndarray
    indices: np.ndarray
    days: float


def parse_date(cell: str) -> np.datetime64 | None:
    """Returns a date as datetime64[s] in UTC, or None if the cell is not a date.

    ISO 8601 up to seconds is read, also with `/` instead of `-`, and years or months without days.
    Dates that start with day or month are not read, since 01/02/2020 has two meanings.

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


def calendar(path: Path, dates: np.ndarray, lines: np.ndarray, column: str) -> Calendar:
    """Returns the even spacing of dates, in calendar months if they fit that, else in seconds.

    The time step is the most common distance between neighbours. Each distance must be a multiple
    of it.

    Args:
      path, lines, column: the file, the line number of each date and the name of their column, for
        messages.
      dates: (given,) datetime64[s], at least 2.

    Raises:
      DataError: dates are too few, equal, unsorted, uneven, or mostly missing.

    >>> days = np.array(["2020-01-31", "2020-02-29", "2020-04-30"], "datetime64[s]")
    >>> calendar(Path("a.csv"), days, np.arange(2, 5), "date").indices.tolist()
    [0, 1, 3]
    """
    if len(dates) < 2:
        raise data_error(path, "must have >= 2 dates, got 1; add data", column=column)
    seconds = dates.astype(np.int64)
    for wrong, reason in (
        (np.diff(seconds) == 0, "has {0} twice; keep one line per date"),
        (np.diff(seconds) < 0, "{0} comes after a later date; sort the lines by date"),
    ):
        if wrong.any():
            index = int(wrong.argmax()) + 1
            raise data_error(
                path, reason.format(dates[index]), line=int(lines[index]), column=column
            )
    months = _months(dates)
    units = seconds if months is None else months
    distances, counts = np.unique(np.diff(units), return_counts=True)
    step = int(distances[counts.argmax()])
    uneven = np.diff(units) % step != 0
    if uneven.any():
        index = int(uneven.argmax()) + 1
        raise data_error(
            path,
            f"{dates[index]} must be a multiple of {_duration(step, months)}, the most common "
            f"distance, after {dates[index - 1]}; space the dates evenly",
            line=int(lines[index]),
            column=column,
        )
    indices = (units - units[0]) // step
    size = int(indices[-1]) + 1
    if size > (MAX_GAP_RATIO + 1) * len(dates):
        raise data_error(
            path,
            f"must have <= {MAX_GAP_RATIO} missing dates per date, got {len(dates)} dates in "
            f"{size} time steps of {_duration(step, months)}; check the dates",
            column=column,
        )
    if months is None:
        even = (seconds[0] + np.arange(size) * step).astype("datetime64[s]")
    else:
        first = (units[0] + np.arange(size) * step).astype("datetime64[M]")
        within = _within_month(dates)
        even = (first + (within is None)).astype("datetime64[s]")
        # The last day of a month is the day before the first of the next.
        even += np.timedelta64(-1, "D") if within is None else within
    days = (seconds[-1] - seconds[0]) / 86400 / (size - 1)
    return Calendar(even, indices, float(days))


def _months(dates: np.ndarray) -> np.ndarray | None:
    """The dates as numbers of months if all are at the same moment of a month or month ends."""
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
    """The time since the start of the month, if it is the same for all dates, else None."""
    within = np.unique(dates - dates.astype("datetime64[M]").astype("datetime64[s]"))
    return within[0] if len(within) == 1 else None


def _duration(step: int, months: np.ndarray | None) -> str:
    if months is not None:
        return f"{step} months"
    return f"{step / 86400:g} days" if step % 86400 == 0 else f"{step} seconds"
