"""Errors of readers: one line with the file, the location in it, the reason and an action."""

from pathlib import Path

from rnnlab.errors import DataError


def data_error(path: Path, reason: str, **location: object) -> DataError:
    """Returns the error to raise about `path`.

    Args:
      path: the file.
      reason: what must hold, what was found and what to do.
      location: where in the file, such as a `line` (from 1) and a `column`; None is omitted.

    >>> print(data_error(Path("data.csv"), "'x' is not a number", line=3, column="price"))
    data.csv, line 3, column 'price': 'x' is not a number
    """
    known = {name: value for name, value in location.items() if value is not None}
    where = "".join(f", {name.replace('_', ' ')} {value!r}" for name, value in known.items())
    return DataError(f"{path}{where}: {reason}".replace("\n", " "))


def quote_cell(value: str) -> str:
    """Returns a cell as it is shown in a message: quoted, and cut to 40 characters."""
    return repr(value if len(value) <= 40 else value[:37] + "...")
