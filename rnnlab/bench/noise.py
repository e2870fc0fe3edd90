"""Marks of the times of a benchmark that vary much between its rounds."""

from collections.abc import Sequence

from rnnlab.records import Record
from rnnlab.tables import Table

MAX_SPREAD = 0.25
"""Distance of the quartiles of a time above which it is noisy, as a fraction of its median."""
HEADING, MARK = "noise", "noisy"


def is_noisy(record: Record) -> bool:
    """Returns whether the quartiles of a time of a record are far apart.

    >>> is_noisy({"step_seconds": 1.0, "step_seconds_q1": 0.9, "step_seconds_q3": 1.1})
    False
    >>> is_noisy({"step_seconds": 1.0, "step_seconds_q1": 0.9, "step_seconds_q3": 1.3})
    True
    """
    for key in (name.removesuffix("_q1") for name in record if name.endswith("seconds_q1")):
        q1, median, q3 = (record.get(name) for name in (f"{key}_q1", key, f"{key}_q3"))
        if None not in (q1, median, q3) and q3 - q1 > MAX_SPREAD * median:
            return True
    return False


def mark_noise(table: Table, measured: Sequence[Record]) -> Table:
    """Returns a table with a column that marks noisy times, if it has some.

    Args:
      table: with one row per record; any other table is returned unchanged.
      measured: the records, of any library.
    """
    marks = [MARK if is_noisy(record) else "" for record in measured]
    if len(table.lines) != len(marks) or not any(marks):
        return table
    lines = [(*line, mark) for line, mark in zip(table.lines, marks, strict=True)]
    headings, optional = (*table.headings, HEADING), (*table.optional, HEADING)
    return table._replace(headings=headings, lines=lines, optional=optional)


def noise_sentence(measured: Sequence[Record]) -> str:
    """Returns how many times are noisy and what to do about it; empty if none is."""
    count = sum(map(is_noisy, measured))
    if not count:
        return ""
    verb = "is" if count == 1 else "are"
    return (
        f"{count} of {len(measured)} times {verb} noisy: the quartiles differ by more than "
        f"{MAX_SPREAD:.0%} of the median. Stop other programs and measure again."
    )
