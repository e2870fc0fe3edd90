"""Reader of NASA's C-MAPSS turbofan data: engines from their first cycle until failure."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.text import read_text

COLUMNS = (
    *("setting 1", "setting 2", "setting 3"),
    *(f"sensor {number}" for number in range(1, 22)),
)
"""The values of a cycle. Before them stand the number of the engine and of the cycle, from 1."""


class Engines(NamedTuple):
    """Engines, one time step per cycle.

    Attributes:
      values: for each engine (cycles, 24) float64, in the order of `COLUMNS`.
      remaining: (engines,) int64, cycles from the last one in `values` until failure: 0 for engines
        that are recorded until they fail.
    """

    values: tuple[np.ndarray, ...]
    remaining: np.ndarray

    def remaining_life(self, number: int) -> np.ndarray:
        """Returns the cycles until failure at every cycle of an engine, (cycles,) int64.

        Args:
          number: of the engine, from 0.
        """
        length = len(self.values[number])
        return self.remaining[number] + np.arange(length - 1, -1, -1)


def read_turbofans(files: Mapping[str, Path], subset: str = "FD001") -> tuple[Engines, Engines]:
    """Reads the training and the test engines of a subset.

    Args:
      files: of `rnnlab.datasets.dataset_files("cmapss-fd001")`: train_FD001.txt, test_FD001.txt and
        RUL_FD001.txt.
      subset: the end of their names.

    Raises:
      DataError: a file is not of the format, or the files differ in their number of engines.
    """
    train = read_engines(files[f"train_{subset}.txt"])
    test = read_engines(files[f"test_{subset}.txt"])
    path = files[f"RUL_{subset}.txt"]
    remaining = _numbers(path, 1)[:, 0]
    if len(remaining) != len(test):
        reason = f"must have one line per engine of the test part, got {len(remaining)} for"
        raise data_error(path, f"{reason} {len(test)}; give both files of one subset")
    failed = np.zeros(len(train), np.int64)
    return Engines(train, failed), Engines(test, remaining.astype(np.int64))


def read_engines(path: str | os.PathLike) -> tuple[np.ndarray, ...]:
    """Returns the values of each engine, (cycles, 24) float64.

    Args:
      path: a text file of numbers separated by spaces, one line per cycle, maybe compressed by xz.

    Raises:
      DataError: a line does not have 26 numbers, or engines or cycles do not count from 1.
    """
    path = Path(path)
    numbers = _numbers(path, 2 + len(COLUMNS))
    engine, cycle = numbers[:, 0], numbers[:, 1]
    starts = np.flatnonzero(np.diff(engine, prepend=np.nan))
    lengths = np.diff(starts, append=len(numbers))
    expected = np.concatenate([np.arange(1, length + 1) for length in lengths])
    expected_engine = np.repeat(np.arange(1, len(starts) + 1), lengths)
    wrong = (cycle != expected) | (engine != expected_engine)
    if wrong.any():
        n = int(wrong.argmax())
        reason = f"must be engine {expected_engine[n]}, cycle {expected[n]}, got {engine[n]:g} and"
        raise data_error(path, f"{reason} {cycle[n]:g}; sort the lines", line=n + 1)
    return tuple(np.split(numbers[:, 2:], starts[1:]))


def _numbers(path: Path, width: int) -> np.ndarray:
    """Numbers separated by spaces, (lines, width) float64."""
    lines = read_text(path).rstrip("\n").split("\n")
    rows = []
    for number, line in enumerate(lines, 1):
        cells = line.split()
        if len(cells) != width:
            reason = f"must have {width} numbers, got {len(cells)}; copy the file again"
            raise data_error(path, reason, line=number)
        try:
            rows.append([float(cell) for cell in cells])
        except ValueError:
            reason = f"must have {width} numbers, got {quote_cell(line)}; copy the file again"
            raise data_error(path, reason, line=number) from None
    return np.array(rows)
