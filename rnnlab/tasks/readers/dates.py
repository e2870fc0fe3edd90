"""Dates of a series: parsed, and placed on an even calendar, which shows gaps."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.errors import data_error

MAX_GAP_RATIO = 10
"""Greatest ratio of missing dates to dates: beyond it, the dates are likely to be wrong."""


DATE_FORMATS = (
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%y", "%d/%m/%y"),
    *("%m/%d/%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y", "%d-%b-%y"),
    *("%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%m/%Y", "%Y%m%d"),
)
"""Formats besides ISO 8601 that are detected. Month names are English."""

_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_HEAD = 20


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


def parse_dates(cells: Sequence[str]) -> tuple[np.ndarray, str]:
    """Returns a column of dates as datetime64[s] in UTC, NaT where a cell is not one, and a format.

    ISO 8601 is read, quarters such as 2020Q1, and the formats of `DATE_FORMATS`, each also followed
    by a time of day. The format is the one that reads the most cells.

    Raises:
      ValueError: the cells are dates in two formats, with day and month swapped.

    >>> dates, form = parse_dates(["31.01.2020", "29.02.2020"])
    >>> dates.astype("datetime64[D]").astype(str).tolist(), form
    (['2020-01-31', '2020-02-29'], '%d.%m.%Y')
    """
    best, name = _parsed(cells, parse_date), "ISO 8601"
    if not np.isnat(best).any():
        return best, name
    tried = [(_parsed(cells, _parse_quarter), "%YQ%q")]
    # All cells of a long column are parsed only in formats that read the first of them.
    head = [cell for cell in cells if cell][:_HEAD]
    for text in DATE_FORMATS:
        for time in _TIMES:
            if any(_parse_format(cell, text + time) is not None for cell in head):
                tried.append((parse_with_format(cells, text + time), text + time))
    for dates, form in tried:
        if np.isnat(dates).sum() < np.isnat(best).sum():
            best, name = dates, form
    alike = [form for dates, form in tried if np.isnat(dates).sum() == np.isnat(best).sum()]
    differ = [dates for dates, form in tried if form in alike and not _equal(dates, best)]
    if name in alike and differ:
        raise ValueError(
            f"{head[0]!r} can be {_day(best)} or {_day(differ[0])}; set date_format to "
            f"{alike[0]} or {alike[1]}"
        )
    return best, name


def parse_with_format(cells: Sequence[str], form: str) -> np.ndarray:
    """Returns a column of dates in the format of `datetime.strptime`, NaT where a cell is not one.

    >>> parse_with_format(["01/02/2020", "x"], "%d/%m/%Y").astype(str).tolist()
    ['2020-02-01T00:00:00', 'NaT']
    """
    return _parsed(cells, partial(_parse_format, form=form))


def looks_like_date(cell: str) -> bool:
    """Returns whether a cell is a date in any format that `parse_dates` reads."""
    parsers = [parse_date, _parse_quarter]
    return any(parse(cell) is not None for parse in parsers) or any(
        _parse_format(cell, form + time) is not None for form in DATE_FORMATS for time in _TIMES
    )


def _parsed(cells: Sequence[str], parse: Callable[[str], np.datetime64 | None]) -> np.ndarray:
    parsed = [parse(cell) for cell in cells]
    return np.array([np.datetime64("NaT", "s") if x is None else x for x in parsed], "M8[s]")


def _parse_format(cell: str, form: str) -> np.datetime64 | None:
    try:
        date = datetime.strptime(cell.strip(), form)
    except ValueError:
        return None
    return None if date.microsecond or date.tzinfo else np.datetime64(date, "s")


def _parse_quarter(cell: str) -> np.datetime64 | None:
    match = re.fullmatch(r"(\d{4})[- ]?[Qq]([1-4])", cell.strip(), re.ASCII)
    if match is None or match[1] == "0000":
        return None
    return np.datetime64(f"{match[1]}-{3 * int(match[2]) - 2:02}-01", "s")


def _equal(one: np.ndarray, two: np.ndarray) -> bool:
    return np.array_equal(one, two, equal_nan=True)


def _day(dates: np.ndarray) -> str:
    return str(dates[~np.isnat(dates)][0])[:10]


def continued(dates: np.ndarray, count: int) -> np.ndarray:
    """Returns even dates followed by `count` more at the same spacing.

    >>> months = np.array(["2020-01-31", "2020-02-29"], "datetime64[s]")
    >>> continued(months, 1)[-1:].astype("datetime64[D]")
    array(['2020-03-31'], dtype='datetime64[D]')
    """
    size = len(dates) + count
    seconds, months = dates.astype(np.int64), _months(dates)
    if months is None:
        return (seconds[0] + np.arange(size) * (seconds[1] - seconds[0])).astype("M8[s]")
    return _even_months(dates, months[0], int(months[1] - months[0]), size)


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
        (
            np.diff(seconds) < 0,
            "{0} comes after a later date; sort the lines by date, or set series_id to the "
            "column that names the series of a panel",
        ),
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
        even = _even_months(dates, units[0], step, size)
    days = (seconds[-1] - seconds[0]) / 86400 / (size - 1)
    return Calendar(even, indices, float(days))


def steps_after(origin: np.ndarray, date: np.datetime64) -> int:
    """Returns how many even time steps a date is after the first of two, rounded.

    >>> month_ends = np.array(["2020-01-31", "2020-02-29"], "M8[s]")
    >>> steps_after(month_ends, np.datetime64("2021-01-31", "s"))
    12
    """
    dates = np.append(origin, date)
    units = _months(dates)
    if units is None:
        units = dates.astype(np.int64)
    return round((units[2] - units[0]) / (units[1] - units[0]))


def _even_months(dates: np.ndarray, first: int, step: int, size: int) -> np.ndarray:
    """`size` dates every `step` months, at the moment of the month that `dates` have."""
    within = _within_month(dates)
    months = first + np.arange(size) * step + (within is None)
    # The last day of a month is the day before the first of the next.
    offset = np.timedelta64(-1, "D") if within is None else within
    return months.astype("datetime64[M]").astype("datetime64[s]") + offset


def _months(dates: np.ndarray) -> np.ndarray | None:
    """The dates as numbers of months if all are at the same moment of a month or month ends."""
    month = dates.astype("datetime64[M]")
    if len(np.unique(month)) < len(month):
        return None
    if _within_month(dates) is None:
        ends = dates.astype("datetime64[D]").astype("datetime64[s]") == dates
        next_month = (dates + np.timedelta64(1, "D")).astype("datetime64[M]")
        ends &= next_month == month + np.timedelta64(1, "M")
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
