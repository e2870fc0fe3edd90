"""The `.ts` text format of the time-series classification archives: labelled sequences."""

import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.csv_series import NUMBER
from rnnlab.tasks.readers.errors import refuse, shown
from rnnlab.tasks.readers.text import read_text


class Labelled(NamedTuple):
    """Sequences with a label each.

    Attributes:
      sequences: float32 arrays (time, dimensions), NaN where a value is missing.
      labels: (sequences,) int32, indices of `classes`; None where the file has none.
      classes: the labels as written, in the header's order.
    """

    sequences: list[np.ndarray]
    labels: np.ndarray | None
    classes: tuple[str, ...]


def read_ts(path: str | os.PathLike, *, gaps: bool = True) -> Labelled:
    """Reads a `.ts` file: `@` header lines, `@data`, then a sequence a line.

    A line is its dimensions separated by `:`, their values separated by `,`, and last the label
    where the header has `@classLabel true`. `?` and NaN are missing values; lengths may differ from
    line to line but not within one. Time stamps (`@timeStamps true`) are not read.

    Args:
      path: the file, UTF-8.
      gaps: whether values may be missing.

    Raises:
      DataError: the file is none such, or a line does not agree with its header; row is the line
        number, column the dimension, from 1.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.ts")
    ...     _ = file.write_text("@classLabel true up down\\n@data\\n1,2:3,4:down\\n")
    ...     read = read_ts(file)
    >>> read.sequences[0].tolist(), read.labels.tolist()
    ([[1.0, 3.0], [2.0, 4.0]], [1])
    """
    path = Path(path)
    lines = read_text(path).split("\n")
    header, first = _header(path, lines)
    classes = _classes(path, header)
    dimensions = _count(path, header, "dimensions")
    if dimensions is None and header.get("univariate", (None, "false"))[1].lower() == "true":
        dimensions = 1
    sequences, labels = [], []
    length = None
    for row, line in enumerate(lines[first:], first + 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        parts = line.split(":")
        if classes:
            labels.append(_label(path, parts.pop().strip(), classes, row))
        if not parts:
            raise refuse(path, "has a label and no values; write them before it", row=row)
        if dimensions is None:
            dimensions = len(parts)
        if len(parts) != dimensions:
            raise refuse(path, f"has {len(parts)} dimensions; {dimensions} are needed", row=row)
        sequence = _sequence(path, parts, row)
        if not gaps and np.isnan(sequence).any():
            column = int(np.isnan(sequence).any(axis=0).argmax()) + 1
            raise refuse(path, "a value is missing; fill it in", row=row, column=column)
        if header.get("equallength", (None, ""))[1].lower() == "true":
            length = length or _count(path, header, "serieslength") or len(sequence)
            if len(sequence) != length:
                reason = f"has {len(sequence)} steps; {length} are needed by the header"
                raise refuse(path, reason, row=row)
        sequences.append(sequence)
    if not sequences:
        raise refuse(path, "has no sequence after @data; at least one is needed")
    return Labelled(sequences, np.array(labels, np.int32) if classes else None, classes)


def _header(path: Path, lines: list[str]) -> tuple[dict[str, tuple[int, str]], int]:
    """Rows and values of the header by name in small letters, and how many lines it takes."""
    header = {}
    for row, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if not line.startswith("@"):
            reason = f"{shown(line)} stands before @data; header lines begin with @"
            raise refuse(path, reason, row=row)
        name, value = (*line[1:].split(None, 1), "", "")[:2]
        if name.lower() == "data":
            return header, row
        if name.lower() in header:
            raise refuse(path, f"@{name} is there twice; keep one", row=row)
        header[name.lower()] = row, value.strip()
        if name.lower() == "timestamps" and value.strip().lower() == "true":
            raise refuse(path, "has time stamps, which are not read; write values alone", row=row)
    raise refuse(path, "has no @data line; a .ts file with one is needed")


def _classes(path: Path, header: dict[str, tuple[int, str]]) -> tuple[str, ...]:
    row, value = header.get("classlabel", (None, "false"))
    has, *classes = value.split() or ["false"]
    if has.lower() != "true":
        return ()
    if not classes or len(set(classes)) < len(classes):
        raise refuse(path, "@classLabel true needs the labels, each once, after it", row=row)
    return tuple(classes)


def _count(path: Path, header: dict[str, tuple[int, str]], name: str) -> int | None:
    row, value = header.get(name, (None, None))
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise refuse(path, f"@{name} is {shown(value)}; a number of at least 1 is needed", row=row)
    return int(value)


def _label(path: Path, label: str, classes: tuple[str, ...], row: int) -> int:
    if label not in classes:
        known = ", ".join(classes[:20])
        raise refuse(path, f"label {shown(label)} is not in @classLabel: {known}", row=row)
    return classes.index(label)


def _sequence(path: Path, parts: list[str], row: int) -> np.ndarray:
    columns = [part.split(",") for part in parts]
    for k, column in enumerate(columns, 1):
        if len(column) != len(columns[0]):
            reason = f"has {len(column)} values; {len(columns[0])}, as dimension 1, are needed"
            raise refuse(path, reason, row=row, column=k)
    values = [[_value(path, x.strip(), row, k) for x in xs] for k, xs in enumerate(columns, 1)]
    return np.array(values, np.float32).T


def _value(path: Path, cell: str, row: int, column: int) -> float:
    if cell == "?" or cell.lower() == "nan":
        return math.nan
    if not NUMBER.fullmatch(cell) or abs(float(cell)) > float(np.finfo(np.float32).max):
        reason = f"{shown(cell)} is not a finite number; write one like 1.5, or ? where missing"
        raise refuse(path, reason, row=row, column=column)
    return float(cell)
