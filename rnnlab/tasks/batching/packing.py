"""Several sequences per row, with a reset at the start of each: no time step is padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.validation import require_positive_int

CHUNK = 4096
"""Sequences that `packed_batch` packs together: the time of a packing grows with their square."""


@dataclass(frozen=True)
class Packing:
    """Positions of sequences in the rows that they are packed into.

    Sequence s fills time steps `start[s]` to `start[s] + lengths[s] - 1` of row `row[s]`.

    Attributes:
      row, start, lengths: (sequences,) of int64.
      rows: number of rows.
      length: time steps per row.
    """

    row: np.ndarray
    start: np.ndarray
    lengths: np.ndarray
    rows: int
    length: int

    def fill(self, sequences: Sequence[np.ndarray], value: float = 0) -> np.ndarray:
        """Returns sequences of these lengths, inputs or targets, as rows (rows, length, ...).

        Raises:
          ValueError: the number or the lengths of the sequences differ from those packed.
        """
        lengths = np.array([len(sequence) for sequence in sequences], np.int64)
        if not np.array_equal(lengths, self.lengths):
            raise ValueError(
                f"sequences must have the lengths that were packed, {len(self.lengths)} sequences "
                f"of {self.lengths.sum()} time steps in total, got {len(lengths)} of "
                f"{lengths.sum()}; pass them in the same order"
            )
        first = np.asarray(sequences[0])
        rows = np.full((self.rows, self.length, *first.shape[1:]), value, first.dtype)
        rows[self._positions()] = np.concatenate(sequences)
        return rows

    @property
    def reset(self) -> np.ndarray:
        """(rows, length) bool: True at the first time step of each sequence."""
        reset = np.zeros((self.rows, self.length), bool)
        reset[self.row, self.start] = True
        return reset

    @property
    def mask(self) -> np.ndarray:
        """(rows, length) bool: True at time steps of a sequence, False in padding."""
        mask = np.zeros((self.rows, self.length), bool)
        mask[self._positions()] = True
        return mask

    def _positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and time step of every time step of the sequences, in their order."""
        ends = np.cumsum(self.lengths)
        within = np.arange(ends[-1]) - np.repeat(ends - self.lengths, self.lengths)
        return np.repeat(self.row, self.lengths), np.repeat(self.start, self.lengths) + within


def first_fit_decreasing(lengths: Sequence[int] | np.ndarray, length: int) -> Packing:
    """Returns a packing: each sequence, longest first, goes to the first row with space for it.

    It uses at most 11/9 of the smallest possible number of rows, plus one. The sequences of a row
    are adjacent, so that padding is on the right.

    Args:
      lengths: of the sequences, each in 1 to `length`.
      length: time steps per row.

    Raises:
      ValueError: lengths is empty, or one of them is out of range.

    Source: Johnson (1974), first-fit decreasing, for the bound.

    >>> packing = first_fit_decreasing([2, 5, 3], length=5)
    >>> packing.row.tolist(), packing.start.tolist()
    ([1, 0, 1], [3, 0, 0])
    """
    require_positive_int(length=length)
    lengths = np.asarray(lengths, np.int64)
    if lengths.size == 0:
        raise ValueError("lengths must have at least one length, got none; pass one")
    wrong = np.flatnonzero((lengths < 1) | (lengths > length))
    if wrong.size:
        raise ValueError(
            f"lengths[{wrong[0]}] must be in 1 to {length}, got {lengths[wrong[0]]}; "
            "omit the sequence or raise length"
        )
    row, start = np.zeros_like(lengths), np.zeros_like(lengths)
    used = np.zeros(len(lengths), np.int64)
    for s in np.argsort(-lengths, kind="stable"):
        # An empty row always has space, so there is a first row that fits.
        row[s] = np.argmax(used + lengths[s] <= length)
        start[s] = used[row[s]]
        used[row[s]] += lengths[s]
    return Packing(row, start, lengths, int(np.count_nonzero(used)), length)


class PackedBatch(NamedTuple):
    """Packed sequences: rows (rows, length, ...), reset and mask (rows, length), the packing."""

    rows: np.ndarray
    reset: np.ndarray
    mask: np.ndarray
    packing: Packing


def pack(sequences: Sequence[np.ndarray], length: int, value: float = 0) -> PackedBatch:
    """Packs sequences into rows of `length` time steps; `packing.fill` packs their targets.

    >>> packed = pack([np.array([1, 2]), np.array([3, 4, 5])], length=5)
    >>> packed.rows.tolist(), packed.reset.tolist()
    ([[3, 4, 5, 1, 2]], [[True, False, False, True, False]])
    >>> packed.packing.fill([np.array([0, 6]), np.array([0, 0, 7])], value=-1).tolist()
    [[0, 0, 7, 0, 6]]
    """
    packing = first_fit_decreasing([len(sequence) for sequence in sequences], length)
    return PackedBatch(packing.fill(sequences, value), packing.reset, packing.mask, packing)


def packed_batch(inputs: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> Batch:
    """Returns a batch of many sequences, whose rows are as long as the longest sequence.

    Args:
      inputs: of each sequence, (time, ...).
      targets: of each, classes or values (time, ...).

    >>> batch = packed_batch([np.array([1, 2]), np.array([3])], [np.array([2, 5]), np.array([4])])
    >>> batch.targets.tolist(), batch.reset.tolist()
    ([[2, 5], [4, -1]], [[True, False], [True, False]])
    """
    longest = max(map(len, inputs))
    value = np.nan if np.issubdtype(targets[0].dtype, np.floating) else IGNORE_INDEX
    parts = []
    for start in range(0, len(inputs), CHUNK):
        chunk = slice(start, start + CHUNK)
        found = pack(inputs[chunk], longest)
        filled = found.packing.fill(targets[chunk], value)
        parts.append((found.rows, filled, found.mask, found.reset))
    return Batch(*map(np.concatenate, zip(*parts, strict=True)))
