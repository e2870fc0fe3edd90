"""Reader of examples in memory: arrays, lists of unequal lengths and pandas objects."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.errors import DataError
from rnnlab.tasks.batching.padding import pad
from rnnlab.tasks.readers.errors import data_error

NAME = Path("data in memory")
"""Name of the data in messages, in place of a file."""


def arrays_in_memory(source: Any) -> dict[str, np.ndarray]:
    """Returns arrays from what a user passes in place of a file.

    Args:
      source: inputs; or a tuple of inputs and targets; or a mapping with the names of
        `rnnlab.tasks.readers.npz`.
    """
    if isinstance(source, Mapping):
        return {str(name): _array(str(name), x) for name, x in source.items()}
    if isinstance(source, tuple):
        if len(source) != 2:
            reason = f"must be (inputs, targets) if a tuple, got {len(source)} items"
            raise data_error(NAME, f"{reason}; pass a list of sequences")
        return plain_arrays(*source)
    return plain_arrays(source)


def plain_arrays(inputs: Any, targets: Any = None, lengths: Any = None) -> dict[str, np.ndarray]:
    """Returns inputs, targets and lengths as arrays that `to_examples` reads.

    Args:
      inputs: an array (examples, time) or (examples, time, features); or a sequence of arrays
        (time,) or (time, features), which are padded if their lengths differ.
      targets: one per sequence; or an array (examples, time); or a sequence of arrays (time,) as
        long as the inputs. None: unknown.
      lengths: (examples,), time steps of padded inputs; None if there is no padding.

    Raises:
      DataError: they are not numbers or strings, or their lengths or shapes do not agree.

    >>> arrays = plain_arrays([[0.5], [1.5, 2.5]], ["down", "up"])
    >>> arrays["inputs"].tolist(), arrays["lengths"].tolist()
    ([[0.5, 0.0], [1.5, 2.5]], [1, 2])
    """
    arrays = {}
    arrays["inputs"], ragged = _padded("inputs", inputs, 0)
    if ragged is not None:
        if lengths is not None:
            reason = "lengths must be None for inputs of different lengths, got some"
            raise data_error(NAME, f"{reason}; remove them")
        lengths = ragged
    if targets is not None:
        arrays["targets"], found = _padded("targets", targets, None)
        if found is not None and (ragged is None or len(found) != len(ragged)):
            reason = (
                f"targets must be as long as their inputs, got {len(found)} lengths that differ"
            )
            raise data_error(NAME, f"{reason}; pass one target per time step")
        if found is not None and (found != ragged).any():
            example = int((found != ragged).argmax())
            reason = f"targets must have {ragged[example]} time steps, as inputs, got"
            raise data_error(NAME, f"{reason} {found[example]}; fix one", example=example)
    if lengths is not None:
        arrays["lengths"] = _array("lengths", lengths)
    return arrays


def _padded(name: str, values: Any, padding: float | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns values as one array, and their lengths if these differ.

    Args:
      name: of the values, for messages.
      values: an array, or a sequence of arrays.
      padding: the value of padding; None: what is not scored.
    """
    array = _typed(values)
    if array is not None:
        return array, None
    if any(isinstance(row, str) or not hasattr(row, "__len__") for row in values):
        raise _mixed(name, values)
    rows = [_array(f"{name}[{k}]", row) for k, row in enumerate(values)]
    first = rows[0]
    for k, row in enumerate(rows):
        if row.ndim not in (1, 2) or row.ndim != first.ndim or row.shape[1:] != first.shape[1:]:
            shape = ("time", *first.shape[1:]) if first.ndim in (1, 2) else ("time", "features")
            wanted = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
            reason = f"{name}[{k}] must have shape ({wanted}), as the first, got {row.shape}"
            raise data_error(NAME, f"{reason}; reshape it")
        if not len(row):
            raise data_error(NAME, f"{name}[{k}] must have a time step, got none; remove it")
    kinds = {row.dtype.kind for row in rows}
    if kinds & set("US") and not kinds <= set("US"):
        raise data_error(NAME, f"{name} must be all numbers or all strings, got both; convert them")
    dtype = np.result_type(*rows)
    if dtype.kind in "ub" and name == "targets":
        dtype = np.dtype(np.int64)  # which has a number for what is not scored
    if padding is None:
        padding = {"f": np.nan, "U": "", "S": b""}.get(dtype.kind, -1)
    padded, mask = pad([row.astype(dtype) for row in rows], value=padding)
    return padded, mask.sum(axis=1)


def _array(name: str, values: Any) -> np.ndarray:
    array = _typed(values)
    if array is None:
        raise _mixed(name, values)
    return array


def _mixed(name: str, values: Any) -> DataError:
    """The error for values that are not all numbers or all strings."""
    kinds = ", ".join(sorted({type(x).__name__ for x in values}))
    reason = f"{name} must be all numbers or all strings, got {kinds}"
    return data_error(NAME, f"{reason}; convert them")


def _typed(values: Any) -> np.ndarray | None:
    """Returns values as an array of numbers or strings; None if they are neither, or are ragged."""
    try:
        array = np.asarray(values)
    except ValueError:  # sequences of different lengths
        return None
    if array.dtype.kind == "T":
        return array.astype(str)
    if array.dtype.kind != "O":
        return array
    items = array.ravel().tolist()
    for kinds, dtype in (
        (str, str),
        ((int, np.integer), np.int64),
        ((int, float, np.number), float),
    ):
        if items and all(isinstance(x, kinds) for x in items):
            try:
                return array.astype(dtype)
            except (OverflowError, ValueError):
                return None
    return None
