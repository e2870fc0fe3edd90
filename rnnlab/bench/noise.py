"""Marks of the times of a benchmark that vary much between its rounds."""

from collections.abc import Sequence

from rnnlab.records import Record
from rnnlab.tables import Table

MAX_SPREAD = 0.25
"""Distance of the quartiles of a time above which it is noisy, as a fraction of its median."""
MAX_SHARE = 1 / 3
"""Fraction of noisy times above which all are: programs are timed in the same rounds, so what
disturbs many of them lengthens the others too, whose quartiles may still be close."""
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
    are_all = _count(measured) > MAX_SHARE * len(measured)
    marks = [MARK if are_all or is_noisy(record) else "" for record in measured]
    if len(table.lines) != len(marks) or not any(marks):
        return table
    lines = [(*line, mark) for line, mark in zip(table.lines, marks, strict=True)]
    headings, optional = (*table.headings, HEADING), (*table.optional, HEADING)
    return table._replace(headings=headings, lines=lines, optional=optional)


def noise_sentence(measured: Sequence[Record]) -> str:
    """Returns how many times are noisy and what to do about it; empty if none is."""
    count = _count(measured)
    if not count:
        return ""
    verb = "is" if count == 1 else "are"
    sentence = (
        f"{count} of {len(measured)} times {verb} noisy: the quartiles differ by more than "
        f"{MAX_SPREAD:.0%} of the median."
    )
    if count > MAX_SHARE * len(measured):
        sentence += " The other times are from the same rounds and may be too long as well."
    return f"{sentence} Stop other programs and measure again."


def _count(measured: Sequence[Record]) -> int:
    return sum(map(is_noisy, measured))
