"""Reader of labelled sequences from tables: several rows per sequence, or one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnlab.tasks.batching.padding import pad
from rnnlab.tasks.readers.arrays import Examples, to_examples
from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.table import NUMBER, TRUTH_VALUES, Table, listed, read_table
from rnnlab.tasks.readers.times import read_times

TIME_NAMES = ("time", "step", "t", "date", "datetime", "timestamp")
"""Names, in lower case, of a column by which the rows of a sequence are ordered."""


@dataclass(frozen=True)
class TableColumns:
    """The meaning of the columns of a table.

    Attributes:
      id: the column of what distinguishes sequences; None: each row is a sequence, and its columns
        are time steps.
      label: the column of the target.
      time: the column that orders the rows of a sequence; None takes one of `TIME_NAMES`, else the
        order of the table.
      features: the columns of values, in order; None takes all others.
      are_values: whether targets are values; None detects it.
    """

    id: str | None = "id"
    label: str = "label"
    time: str | None = None
    features: tuple[str, ...] | None = None
    are_values: bool | None = None


def read_labelled_table(source: Any, columns: TableColumns, *, labelled: bool = True) -> Examples:
    """Reads the sequences of a table and their targets.

    The rows of a sequence have the same `id`. A label that is the same in all rows of each
    sequence, or is empty except in one of them, is the target of the sequence; otherwise each row
    has its own. Labels are classes, or values if all are numbers and one has a decimal point.

    Args:
      source: a file or a data frame, as `rnnlab.tasks.readers.table.read_table` reads it.
      columns: their meaning.
      labelled: whether there must be targets.

    Raises:
      DataError: a column is missing or has a cell that is not a number. Messages count lines from
        1.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.csv")
    ...     _ = file.write_text("id,x,label\\n1,0.5,up\\n1,1.5,up\\n2,2.5,down\\n")
    ...     read = read_labelled_table(file, TableColumns())
    >>> read.inputs[..., 0].tolist(), read.targets.tolist(), read.classes
    ([[0.5, 1.5], [2.5, 0.0]], [[-1, 1], [0, -1]], ('down', 'up'))
    """
    table = read_table(source)
    label = None
    if labelled or columns.label in table.header:
        label = table.index(columns.label, "--data.label")
    if columns.id is None:
        return _read_wide(table, columns, label, labelled)
    ids, groups = _groups(table, columns.id)
    time = _time_index(table, columns, labelled)
    if time is not None:
        order = read_times(table, time).values
        groups = [rows[np.argsort(order[rows], kind="stable")] for rows in groups]
    names = _features(table, columns, {table.index(columns.id), time, label})
    values = np.stack([_numbers(table, name, gaps=False) for name in names], axis=1)
    inputs, mask = pad([values[rows] for rows in groups])
    arrays = {"inputs": inputs, "lengths": mask.sum(axis=1)}
    if label is not None:
        arrays |= _targets(table, label, groups, columns, labelled)
    read = to_examples(table.path, arrays, labelled=False)
    return read._replace(features=names, ids=ids)


def _read_wide(table: Table, columns: TableColumns, label: int | None, labelled: bool) -> Examples:
    names = _features(table, columns, {label})
    values = np.stack([_numbers(table, name, gaps=True) for name in names], axis=1)
    known = ~np.isnan(values)
    lengths = known.sum(axis=1)
    gaps = np.flatnonzero((known != (np.arange(len(names)) < lengths[:, None])).any(axis=1))
    gaps = np.union1d(gaps, np.flatnonzero(lengths == 0))
    if len(gaps):
        reason = "must have missing values only after its last value; fill them in"
        raise data_error(table.path, reason, line=table.lines[gaps[0]])
    arrays = {"inputs": np.nan_to_num(values), "lengths": lengths}
    if label is not None:
        rows = list(np.arange(len(values))[:, None])
        arrays |= _targets(table, label, rows, columns, labelled)
    return to_examples(table.path, arrays, labelled=False)._replace(features=names)


def _groups(table: Table, name: str) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """The id and the rows of each sequence, in the order of their first rows."""
    if name not in table.header:
        raise data_error(
            table.path,
            f"must have a column {name!r} that distinguishes sequences, got "
            f"{listed(table.header)}; name one by --data.id, or None for one sequence per row",
            line=1,
        )
    groups: dict[str, list[int]] = {}
    for row, cell in enumerate(table.cells(table.index(name))):
        if not cell:
            reason = "must not be empty; fill it in"
            raise data_error(table.path, reason, line=table.lines[row], column=name)
        groups.setdefault(cell, []).append(row)
    return tuple(groups), [np.array(rows) for rows in groups.values()]


def _time_index(table: Table, columns: TableColumns, labelled: bool) -> int | None:
    if columns.time is not None:
        return table.index(columns.time, "--data.time" if labelled else "")
    known = {columns.id, columns.label, *(columns.features or ())}
    for index, name in enumerate(table.header):
        if name.lower() in TIME_NAMES and name not in known:
            return index
    return None


def _features(table: Table, columns: TableColumns, others: set[int | None]) -> tuple[str, ...]:
    if columns.features is not None:
        for name in columns.features:
            table.index(name)
        return columns.features
    names = tuple(name for index, name in enumerate(table.header) if index not in others)
    if not names:
        reason = f"must have a column of values, got {listed(table.header)}; add one"
        raise data_error(table.path, reason, line=1)
    return names


def _numbers(table: Table, name: str, *, gaps: bool) -> np.ndarray:
    """A column of numbers, which has missing values only if `gaps`."""
    index = table.index(name)
    cells = table.cells(index)
    if not any(any(map(str.isdigit, x)) or x.lower() in TRUTH_VALUES for x in cells):
        reason = f"must have numbers, got {quote_cell(cells[0])}; remove the column, or name it by"
        raise data_error(
            table.path, f"{reason} --data.id or --data.label", line=table.lines[0], column=name
        )
    numbers = table.numbers(index)
    missing = np.flatnonzero(np.isnan(numbers))
    if len(missing) and not gaps:
        reason = "has a missing value; fill it in"
        raise data_error(table.path, reason, line=table.lines[missing[0]], column=name)
    return numbers


def _targets(
    table: Table,
    label: int,
    groups: list[np.ndarray],
    columns: TableColumns,
    labelled: bool,
) -> dict[str, np.ndarray]:
    """The array `targets`, of strings or floats; none if no label is known."""
    cells = np.array(table.cells(label), str)
    known = cells[cells != ""]
    if not len(known):
        if labelled:
            reason = "must have labels, got empty cells only; add them"
            raise data_error(table.path, reason, column=table.header[label])
        return {}
    are_values = columns.are_values
    if are_values is None:
        are_numbers = all(NUMBER.fullmatch(cell) for cell in known)
        are_values = are_numbers and not all(x.lstrip("+-").isdigit() for x in known)
    labels = table.numbers(label) if are_values else cells
    different = [set(cells[rows]) - {""} for rows in groups]
    if all(len(names) <= 1 for names in different):
        unlabelled = next((k for k, names in enumerate(different) if not names), None)
        if unlabelled is not None and labelled:
            row = groups[unlabelled][0]
            reason = "must have a label in one row of the sequence, got none; add it"
            raise data_error(table.path, reason, line=table.lines[row], column=table.header[label])
        return {"targets": np.array([_first(labels[rows]) for rows in groups])}
    unscored = np.nan if are_values else ""
    return {"targets": pad([labels[rows] for rows in groups], value=unscored)[0]}


def _first(labels: np.ndarray) -> Any:
    """The first label that is known, or one that is not."""
    known = labels[~np.isnan(labels)] if labels.dtype.kind == "f" else labels[labels != ""]
    return known[0] if len(known) else labels[0]
