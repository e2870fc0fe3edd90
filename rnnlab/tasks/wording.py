"""Numbers and names in the sentences that describe data."""

from collections.abc import Sequence

MAX_NAMES = 10
"""Names that are listed."""


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun.

    >>> counted(1, "file"), counted(2000, "line")
    ('1 file', '2,000 lines')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shortened(names: Sequence[str]) -> str:
    """Returns the first names, with an ellipsis if there are more.

    >>> shortened("abcdefghijkl")
    'a, b, c, d, e, f, g, h, i, j, ...'
    """
    return ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
