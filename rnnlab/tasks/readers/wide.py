"""Reader of wide tables of series: one series per line, as in the M4 competition."""

import os
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.table import read_table


class WideSeries(NamedTuple):
    """Series of different lengths, without dates.

    Attributes:
      names: of the series, from the first column.
      values: for each series (time,) float64, without missing values.
    """

    names: tuple[str, ...]
    values: tuple[np.ndarray, ...]


def read_wide_series(path: str | os.PathLike) -> WideSeries:
    """Reads a table whose first column names a series and whose others are its time steps.

    Cells after the last value of a series are empty.

    Args:
      path: a CSV file, maybe compressed with xz, or a Parquet file.

    Raises:
      DataError: a series has no value, has a missing value before its last one, or has a name that
        another one has.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.csv")
    ...     _ = file.write_text('"V1","V2","V3"\\n"H1","605","586"\\n"H2","3124",\\n')
    ...     read_wide_series(file)
    WideSeries(names=('H1', 'H2'), values=(array([605., 586.]), array([3124.])))
    """
    table = read_table(path)
    names = tuple(table.cells(0))
    if len(table.header) < 2:
        reason = "must have a column of names and columns of time steps, got one column; add values"
        raise data_error(table.path, reason, line=1)
    if len(set(names)) < len(names):
        row = next(row for row, name in enumerate(names) if name in names[:row])
        reason = f"has the name {names[row]!r} twice; rename one series"
        raise data_error(table.path, reason, line=table.lines[row], column=table.header[0])
    columns = [table.numbers(index) for index in range(1, len(table.header))]
    values = np.stack(columns, axis=1)
    known = ~np.isnan(values)
    lengths = known.sum(axis=1)
    wrong = (known != (np.arange(values.shape[1]) < lengths[:, None])).any(axis=1) | (lengths == 0)
    if wrong.any():
        reason = "must have values, and missing ones only after its last value; fill them in"
        raise data_error(table.path, reason, line=table.lines[int(wrong.argmax())])
    return WideSeries(names, tuple(x[:n] for x, n in zip(values, lengths, strict=True)))
