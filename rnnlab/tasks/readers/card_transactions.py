"""Reader of the public table of card transactions of the Université Libre de Bruxelles."""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.errors import data_error, quote_cell

COLUMNS = ("Time", *(f"V{k}" for k in range(1, 29)), "Amount", "Class")
"""The columns of the table: seconds, 28 principal components, an amount, and 1 for a fraud."""


class CardTransactions(NamedTuple):
    """Transactions in the order of their time, without duplicates.

    Attributes:
      seconds: (transactions,) float64, since the first one.
      components: (transactions, 28) float32.
      amounts: (transactions,) float64.
      classes: (transactions,) int32, 1 for a fraud.
      duplicates: number of rows that were dropped, since an earlier one is equal.
    """

    seconds: np.ndarray
    components: np.ndarray
    amounts: np.ndarray
    classes: np.ndarray
    duplicates: int


def read_card_transactions(path: Path) -> CardTransactions:
    """Reads `creditcard.csv`, whose columns are `COLUMNS`.

    Raises:
      DataError: the file is missing, is not such a table, or has a value that is not finite.

    Source: Dal Pozzolo et al., "Calibrating Probability with Undersampling for Unbalanced
    Classification" (2015), for the data.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "creditcard.csv")
    ...     rows = [f'{second},{"0.5," * 28}9.9,"{second // 60}"' for second in (0, 0, 60)]
    ...     _ = file.write_text("\\n".join([",".join(f'"{name}"' for name in COLUMNS), *rows]))
    ...     read = read_card_transactions(file)
    >>> read.seconds.tolist(), read.classes.tolist(), read.duplicates
    ([0.0, 60.0], [0, 1], 1)
    """
    try:
        with open(path, encoding="utf-8") as file:
            names = tuple(name.strip().strip('"') for name in file.readline().split(","))
    except (OSError, UnicodeDecodeError) as error:
        raise data_error(path, f"cannot be read: {error}; give creditcard.csv") from error
    if names != COLUMNS:
        shown = quote_cell(", ".join(names))
        raise data_error(
            path,
            f"must have the columns Time, V1 to V28, Amount, Class, got {shown}; give "
            "creditcard.csv",
            line=1,
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a file without rows is an error below
            rows = np.loadtxt(path, delimiter=",", skiprows=1, quotechar='"', ndmin=2)
    except ValueError as error:
        raise data_error(path, f"must have numbers only: {error}; copy it again") from error
    if rows.size == 0:
        raise data_error(path, "must have transactions, got none; copy the file again")
    wrong = ~np.isfinite(rows).all(1) | ~np.isin(rows[:, -1], (0, 1))
    if wrong.any():
        reason = "must have finite values and a class of 0 or 1; copy it again"
        raise data_error(path, reason, line=2 + int(wrong.argmax()))
    first = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    duplicates = len(rows) - len(first)
    rows = rows[first]
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return CardTransactions(
        rows[:, 0],
        rows[:, 1:29].astype(np.float32),
        rows[:, 29],
        rows[:, 30].astype(np.int32),
        duplicates,
    )
