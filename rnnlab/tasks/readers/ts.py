"""Reader of `.ts` files, the text format of the time-series classification archives."""

import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.table import NUMBER
from rnnlab.tasks.readers.text import read_text


class LabelledSequences(NamedTuple):
    """Sequences and their labels.

    Attributes:
      sequences: float32 arrays (time, dimensions), NaN where a value is missing.
      labels: (sequences,) int32, indices of `classes`; None if the file has no labels.
      classes: the labels as written, in the order of the header.
    """

    sequences: list[np.ndarray]
    labels: np.ndarray | None
    classes: tuple[str, ...]


def read_ts(path: str | os.PathLike, *, gaps: bool = True) -> LabelledSequences:
    """Reads a `.ts` file: header lines that start with `@`, `@data`, then one sequence per line.

    A line has dimensions separated by `:`, of values separated by `,`, and the label last if the
    header has `@classLabel true`. `?` and NaN are missing values. Lengths may differ between lines
    but not within one. Time stamps (`@timeStamps true`) are not supported.

    Args:
      path: the file, UTF-8.
      gaps: whether values may be missing.

    Raises:
      DataError: the file is not a `.ts` file, or a line does not agree with the header; messages
        count lines and dimensions from 1.

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
    for number, line in enumerate(lines[first:], first + 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        parts = line.split(":")
        if classes:
            labels.append(_label(path, parts.pop().strip(), classes, number))
        if not parts:
            raise data_error(path, "has a label without values; write them before it", line=number)
        if dimensions is None:
            dimensions = len(parts)
        if len(parts) != dimensions:
            reason = f"must have {dimensions} dimensions, got {len(parts)}; add or remove some"
            raise data_error(path, reason, line=number)
        sequence = _sequence(path, parts, number)
        if not gaps and np.isnan(sequence).any():
            dimension = int(np.isnan(sequence).any(axis=0).argmax()) + 1
            reason = "has a missing value; fill it in"
            raise data_error(path, reason, line=number, dimension=dimension)
        if header.get("equallength", (None, ""))[1].lower() == "true":
            length = length or _count(path, header, "serieslength") or len(sequence)
            if len(sequence) != length:
                reason = (
                    f"must have {length} time steps by the header, got {len(sequence)}; fix one"
                )
                raise data_error(path, reason, line=number)
        sequences.append(sequence)
    if not sequences:
        raise data_error(path, "must have a sequence after @data, got none; add data")
    return LabelledSequences(sequences, np.array(labels, np.int32) if classes else None, classes)


def _header(path: Path, lines: list[str]) -> tuple[dict[str, tuple[int, str]], int]:
    """Returns line and value of each header entry, by name in lower case, and the header's size."""
    header = {}
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if not line.startswith("@"):
            reason = (
                f"header lines must start with @, got {quote_cell(line)}; add @data before data"
            )
            raise data_error(path, reason, line=number)
        name, value = (*line[1:].split(None, 1), "", "")[:2]
        if name.lower() == "data":
            return header, number
        if name.lower() in header:
            raise data_error(path, f"has @{name} twice; keep one", line=number)
        header[name.lower()] = number, value.strip()
        if name.lower() == "timestamps" and value.strip().lower() == "true":
            raise data_error(
                path, "has time stamps, which are not read; write only values", line=number
            )
    raise data_error(path, "must have a line @data, got none; give a .ts file")


def _classes(path: Path, header: dict[str, tuple[int, str]]) -> tuple[str, ...]:
    number, value = header.get("classlabel", (None, "false"))
    has, *classes = value.split() or ["false"]
    if has.lower() != "true":
        return ()
    if not classes or len(set(classes)) < len(classes):
        raise data_error(
            path,
            "@classLabel true must be followed by the labels, each once; write them",
            line=number,
        )
    return tuple(classes)


def _count(path: Path, header: dict[str, tuple[int, str]], name: str) -> int | None:
    number, value = header.get(name, (None, None))
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        reason = f"@{name} must be a whole number >= 1, got {quote_cell(value)}; fix it"
        raise data_error(path, reason, line=number)
    return int(value)


def _label(path: Path, label: str, classes: tuple[str, ...], number: int) -> int:
    if label not in classes:
        known = ", ".join(classes[:20])
        reason = f"label must be in @classLabel, got {quote_cell(label)}; use one of {known}"
        raise data_error(path, reason, line=number)
    return classes.index(label)


def _sequence(path: Path, parts: list[str], number: int) -> np.ndarray:
    columns = [part.split(",") for part in parts]
    for k, column in enumerate(columns, 1):
        if len(column) != len(columns[0]):
            reason = (
                f"must have {len(columns[0])} values, as dimension 1, got {len(column)}; fix one"
            )
            raise data_error(path, reason, line=number, dimension=k)
    values = [[_value(path, x.strip(), number, k) for x in xs] for k, xs in enumerate(columns, 1)]
    return np.array(values, np.float32).T


def _value(path: Path, cell: str, number: int, dimension: int) -> float:
    if cell == "?" or cell.lower() == "nan":
        return math.nan
    if not NUMBER.fullmatch(cell) or abs(float(cell)) > float(np.finfo(np.float32).max):
        reason = (
            f"{quote_cell(cell)} is not a finite number; write one such as 1.5, or ? if missing"
        )
        raise data_error(path, reason, line=number, dimension=dimension)
    return float(cell)
