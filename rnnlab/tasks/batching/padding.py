"""Sequences of different lengths in one array: padding on the right, and buckets by length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from rnnlab.tasks.batch import IGNORE, Batch
from rnnlab.tasks.batching.sampler import permutation
from rnnlab.validation import require_positive_int


def pad(
    sequences: Sequence[np.ndarray],
    length: int | None = None,
    *,
    value: float = 0,
    rows: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The sequences as the rows of one array, and where they are real.

        array[r, t] = sequences[r][t] and mask[r, t] = True   for t < len(sequences[r])
        array[r, t] = value           and mask[r, t] = False  else

    Args:
      sequences: arrays (time, ...) alike but for time.
      length: steps of the array; None is the longest sequence's.
      value: what stands in padding.
      rows: rows of the array; those beyond the sequences are padding from end to end. None is one
        a sequence.

    Returns:
      array (rows, length, ...) and mask (rows, length) bool.

    Raises:
      ValueError: there are no sequences, or one is longer than `length`, or more than `rows`.

    >>> array, mask = pad([np.array([5, 6, 7]), np.array([8])])
    >>> array.tolist(), mask.tolist()
    ([[5, 6, 7], [8, 0, 0]], [[True, True, True], [True, False, False]])
    """
    if len(sequences) == 0:
        raise ValueError("sequences is empty; at least one sequence is needed")
    lengths = np.array([len(sequence) for sequence in sequences])
    length = int(lengths.max()) if length is None else length
    rows = len(sequences) if rows is None else rows
    if lengths.max() > length:
        row = int(lengths.argmax())
        raise ValueError(f"sequences[{row}] has {lengths[row]} steps; at most {length} are needed")
    if len(sequences) > rows:
        raise ValueError(f"rows is {rows}; at least {len(sequences)}, one a sequence, is needed")
    first = np.asarray(sequences[0])
    array = np.full((rows, length, *first.shape[1:]), value, first.dtype)
    mask = np.zeros((rows, length), bool)
    mask[: len(lengths)] = np.arange(length)[None] < lengths[:, None]
    # Boolean places are filled in row order, which is the order of the concatenation.
    array[mask] = np.concatenate(sequences)
    return array, mask


def unscored(targets: np.ndarray) -> float:
    """What stands in `targets` where a step is not scored: `IGNORE` for classes, else NaN."""
    return IGNORE if np.issubdtype(targets.dtype, np.integer) else np.nan


def cut(whole: Batch, batch_size: int) -> Iterator[Batch]:
    """The rows of `whole` in order, `batch_size` at a time, the last `filled`.

    >>> whole = Batch(np.ones((3, 2), np.int32), np.ones((3, 2), np.int32), np.ones((3, 2), bool))
    >>> [batch.mask.any(axis=1).tolist() for batch in cut(whole, 2)]
    [[True, True], [True, False]]
    """
    require_positive_int(batch_size=batch_size)
    if whole.mask is None:
        whole = whole._replace(mask=np.ones(whole.inputs.shape[:2], bool))
    for start in range(0, len(whole.inputs), batch_size):
        taken = (None if x is None else x[start : start + batch_size] for x in whole)
        yield filled(Batch(*taken), batch_size)


def filled(batch: Batch, rows: int) -> Batch:
    """A batch with a mask, filled up to `rows` rows by padding from end to end, not scored.

    Batches of one shape are served by one compiled program.
    """
    fills = Batch(0, unscored(batch.targets), False, False)
    short = rows - len(batch.inputs)

    def fill(x: np.ndarray | None, value: float) -> np.ndarray | None:
        if x is None:
            return None
        return np.concatenate([x, np.full((short, *x.shape[1:]), value, x.dtype)])

    return Batch(*map(fill, batch, fills))


@dataclass(frozen=True)
class Buckets:
    """Batches of rows of similar length, each row exactly once an epoch.

    A row belongs to the smallest bound that holds it. In each epoch a bucket's rows are permuted
    and cut into batches; what does not fill a batch moves on to the next larger bucket, and what is
    left in the largest makes one smaller batch. The batches are then permuted. Everything follows
    from (seed, batch number); an epoch has `batches_per_epoch` batches.

    Attributes:
      lengths: of the rows.
      bounds: increasing; the last holds the longest row.
      batch_size: rows a batch.
      seed: of the permutations.

    Raises:
      ValueError: lengths is empty, bounds do not increase, or a row is longer than all of them.

    >>> buckets = Buckets(lengths=(3, 9, 2, 4, 8), bounds=(4, 10), batch_size=2, seed=0)
    >>> sorted((bound, len(rows)) for rows, bound in map(buckets.rows, range(3)))
    [(4, 2), (10, 1), (10, 2)]
    """

    lengths: Sequence[int]
    bounds: Sequence[int]
    batch_size: int
    seed: int
    _members: tuple[np.ndarray, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        require_positive_int(batch_size=self.batch_size)
        lengths, bounds = np.asarray(self.lengths), np.asarray(self.bounds)
        if lengths.size == 0:
            raise ValueError("lengths is empty; at least one row is needed")
        if bounds.size == 0 or (np.diff(bounds) <= 0).any():
            raise ValueError(f"bounds is {tuple(self.bounds)}; increasing lengths are needed")
        if lengths.max() > bounds[-1]:
            row = int(lengths.argmax())
            raise ValueError(
                f"lengths[{row}] is {lengths[row]}; at most {bounds[-1]}, the last of bounds, "
                f"is needed"
            )
        bucket = np.searchsorted(bounds, lengths)
        members = tuple(np.flatnonzero(bucket == k) for k in range(len(bounds)))
        object.__setattr__(self, "_members", members)

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in which each row occurs once."""
        return -(-len(self.lengths) // self.batch_size)

    def rows(self, n: int) -> tuple[np.ndarray, int]:
        """The rows of batch number n, at most `batch_size`, and the length to pad them to."""
        epoch, place = divmod(n, self.batches_per_epoch)
        batches, left = [], np.zeros(0, np.int64)
        for k, (members, bound) in enumerate(zip(self._members, self.bounds, strict=True)):
            order = members[permutation(len(members), self.seed, epoch, k)]
            waiting = np.concatenate([left, order])
            full = len(waiting) // self.batch_size * self.batch_size
            batches += [(part, bound) for part in waiting[:full].reshape(-1, self.batch_size)]
            left = waiting[full:]
        if len(left):
            batches.append((left, self.bounds[-1]))
        rows, bound = batches[permutation(len(batches), self.seed, epoch, len(self.bounds))[place]]
        return rows, int(bound)
