"""Several sequences in a row, with a reset where each begins: no step is spent on padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnnlab.validation import require_positive_int


@dataclass(frozen=True)
class Packing:
    """Where each sequence stands in the rows it is packed into.

    Sequence s fills steps `start[s]` to `start[s] + lengths[s] - 1` of row `row[s]`.

    Attributes:
      row, start, lengths: (sequences,) of int64.
      rows: number of rows.
      length: steps a row.
    """

    row: np.ndarray
    start: np.ndarray
    lengths: np.ndarray
    rows: int
    length: int

    def fill(self, sequences: Sequence[np.ndarray], value: float = 0) -> np.ndarray:
        """Sequences of these lengths, inputs or targets, as rows (rows, length, ...).

        Raises:
          ValueError: their number or a length is another.
        """
        lengths = np.array([len(sequence) for sequence in sequences], np.int64)
        if not np.array_equal(lengths, self.lengths):
            raise ValueError(
                f"sequences has {len(lengths)} sequences of {lengths.sum()} steps in all; those "
                f"that were placed, {len(self.lengths)} of {self.lengths.sum()}, are needed"
            )
        first = np.asarray(sequences[0])
        rows = np.full((self.rows, self.length, *first.shape[1:]), value, first.dtype)
        rows[self._places()] = np.concatenate(sequences)
        return rows

    @property
    def reset(self) -> np.ndarray:
        """(rows, length) bool: True at each sequence's first step."""
        reset = np.zeros((self.rows, self.length), bool)
        reset[self.row, self.start] = True
        return reset

    @property
    def mask(self) -> np.ndarray:
        """(rows, length) bool: True where a sequence stands."""
        mask = np.zeros((self.rows, self.length), bool)
        mask[self._places()] = True
        return mask

    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and step of every step of the sequences, one after the other."""
        ends = np.cumsum(self.lengths)
        within = np.arange(ends[-1]) - np.repeat(ends - self.lengths, self.lengths)
        return np.repeat(self.row, self.lengths), np.repeat(self.start, self.lengths) + within


def place(lengths: Sequence[int] | np.ndarray, length: int) -> Packing:
    """First fit, longest first: each sequence goes to the first row with room left for it.

    At most 11/9 of the fewest possible rows, and one more, are used. Within a row the sequences
    touch, so that padding is on the right.

    Args:
      lengths: of the sequences, each in 1 to `length`.
      length: steps a row.

    Raises:
      ValueError: lengths is empty, or one of them out of range.

    Source: Johnson (1974), first-fit decreasing, for the bound.

    >>> packing = place([2, 5, 3], length=5)
    >>> packing.row.tolist(), packing.start.tolist()
    ([1, 0, 1], [3, 0, 0])
    """
    require_positive_int(length=length)
    lengths = np.asarray(lengths, np.int64)
    if lengths.size == 0:
        raise ValueError("lengths is empty; at least one sequence is needed")
    wrong = np.flatnonzero((lengths < 1) | (lengths > length))
    if wrong.size:
        raise ValueError(
            f"lengths[{wrong[0]}] is {lengths[wrong[0]]}; a length in 1 to {length} is needed"
        )
    row, start = np.zeros_like(lengths), np.zeros_like(lengths)
    used = np.zeros(len(lengths), np.int64)
    for s in np.argsort(-lengths, kind="stable"):
        # Rows not yet begun have room for any, so there always is a first.
        row[s] = np.argmax(used + lengths[s] <= length)
        start[s] = used[row[s]]
        used[row[s]] += lengths[s]
    return Packing(row, start, lengths, int(np.count_nonzero(used)), length)


class Packed(NamedTuple):
    """Packed sequences: rows (rows, length, ...), reset and mask (rows, length), the places."""

    rows: np.ndarray
    reset: np.ndarray
    mask: np.ndarray
    packing: Packing


def pack(sequences: Sequence[np.ndarray], length: int, value: float = 0) -> Packed:
    """Packs sequences into rows of `length` steps; `packing.fill` packs their targets alike.

    >>> packed = pack([np.array([1, 2]), np.array([3, 4, 5])], length=5)
    >>> packed.rows.tolist(), packed.reset.tolist()
    ([[3, 4, 5, 1, 2]], [[True, False, False, True, False]])
    >>> packed.packing.fill([np.array([0, 6]), np.array([0, 0, 7])], value=-1).tolist()
    [[0, 0, 7, 0, 6]]
    """
    packing = place([len(sequence) for sequence in sequences], length)
    return Packed(packing.fill(sequences, value), packing.reset, packing.mask, packing)
