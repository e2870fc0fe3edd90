"""How a reader refuses a file: one line that says where and what to do."""

from pathlib import Path

from rnnlab.errors import DataError


def refuse(path: Path, reason: str, *, row: int | None = None, column: object = None) -> DataError:
    """The error to raise about `path`: `row` is a line number from 1, `column` a name or number.

    >>> print(refuse(Path("data.csv"), "'x' is not a number", row=3, column="price"))
    data.csv, row 3, column 'price': 'x' is not a number
    """
    place = str(path)
    if row is not None:
        place += f", row {row}"
    if column is not None:
        place += f", column {column!r}"
    return DataError(f"{place}: {reason}".replace("\n", " "))


def shown(value: str) -> str:
    """A cell as it stands in a message: quoted and cut."""
    return repr(value if len(value) <= 40 else value[:37] + "...")
