"""Sequences of different lengths in one array: right padding, and buckets by length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from rnnlab.tasks.batch import IGNORE_INDEX, Batch, Source, select
from rnnlab.tasks.batching.sampler import permutation
from rnnlab.validation import require_positive_int


def pad(
    sequences: Sequence[np.ndarray],
    length: int | None = None,
    *,
    value: float = 0,
    rows: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sequences as one array, and a mask that is True at their time steps.

        array[r, t] = sequences[r][t] and mask[r, t] = True   for t < len(sequences[r])
        array[r, t] = value           and mask[r, t] = False  else

    Args:
      sequences: arrays (time, ...) that differ in time only.
      length: time steps of the array; None is the length of the longest sequence.
      value: the value of padding.
      rows: rows of the array, of which those after the sequences are padding only; None is one row
        per sequence.

    Returns:
      array (rows, length, ...) and mask (rows, length) bool.

    Raises:
      ValueError: there are no sequences or more than `rows`, or one is longer than `length`.

    >>> array, mask = pad([np.array([5, 6, 7]), np.array([8])])
    >>> array.tolist(), mask.tolist()
    ([[5, 6, 7], [8, 0, 0]], [[True, True, True], [True, False, False]])
    """
    if len(sequences) == 0:
        raise ValueError("sequences must have at least one sequence, got none; pass one")
    lengths = np.array([len(sequence) for sequence in sequences])
    length = int(lengths.max()) if length is None else length
    rows = len(sequences) if rows is None else rows
    if lengths.max() > length:
        row = int(lengths.argmax())
        raise ValueError(
            f"sequences[{row}] must have <= {length} time steps, got {lengths[row]}; raise length"
        )
    if len(sequences) > rows:
        raise ValueError(
            f"rows must be >= {len(sequences)}, one per sequence, got {rows}; raise rows"
        )
    first = np.asarray(sequences[0])
    array = np.full((rows, length, *first.shape[1:]), value, first.dtype)
    mask = np.zeros((rows, length), bool)
    mask[: len(lengths)] = np.arange(length)[None] < lengths[:, None]
    # Boolean indexing fills row by row, which is the order of the concatenation.
    array[mask] = np.concatenate(sequences)
    return array, mask


def ignore_value(targets: np.ndarray | None) -> float:
    """Returns the target of unscored time steps: `IGNORE_INDEX` for classes, else NaN."""
    are_values = targets is None or np.issubdtype(targets.dtype, np.floating)
    return np.nan if are_values else IGNORE_INDEX


def split_batches(dataset: Batch, batch_size: int) -> Iterator[Batch]:
    """Yields the examples of `dataset` in order, `batch_size` at a time; the last batch is padded.

    >>> ones = np.ones((3, 2), np.int32)
    >>> dataset = Batch(ones, ones, ones.astype(bool))
    >>> [batch.mask.any(axis=1).tolist() for batch in split_batches(dataset, 2)]
    [[True, True], [True, False]]
    """
    require_positive_int(batch_size=batch_size)
    if dataset.mask is None:
        dataset = dataset._replace(mask=np.ones(dataset.inputs.shape[:2], bool))
    source = dataset.source
    if source is not None and source.mask is None:
        ones = np.ones(source.inputs.shape[:2], bool)
        dataset = dataset._replace(source=source._replace(mask=ones))
    for start in range(0, len(dataset.inputs), batch_size):
        yield pad_batch(select(dataset, slice(start, start + batch_size)), batch_size)


def pad_batch(batch: Batch, batch_size: int) -> Batch:
    """Returns a batch that has a mask with examples of padding added, up to `batch_size`.

    Batches of one shape share one compiled program. An example of padding is masked at all time
    steps, also in its source.
    """
    missing = batch_size - len(batch.inputs)

    def padded(x: np.ndarray | None, value: float) -> np.ndarray | None:
        if x is None:
            return None
        return np.concatenate([x, np.full((missing, *x.shape[1:]), value, x.dtype)])

    source = batch.source
    return Batch(
        padded(batch.inputs, 0),
        padded(batch.targets, ignore_value(batch.targets)),
        padded(batch.mask, False),
        padded(batch.reset, False),
        padded(batch.gaps, 0),
        None if source is None else Source(padded(source.inputs, 0), padded(source.mask, False)),
        padded(batch.labels, IGNORE_INDEX),
        padded(batch.example, -1),
        padded(batch.negatives, 0),
    )


@dataclass(frozen=True)
class BucketSampler:
    """Batches of examples of similar length, each example exactly once per epoch.

    An example belongs to the smallest bound that is at least its length. In each epoch the examples
    of a bucket are permuted and split into batches. The remainder moves to the next larger bucket,
    and the remainder of the largest makes one smaller batch. The batches are then permuted.
    Everything follows from (seed, batch number); an epoch has `batches_per_epoch` batches.

    Attributes:
      lengths: of the examples.
      bounds: increasing; the last is at least the greatest length.
      batch_size: examples per batch.
      seed: of the permutations.

    Raises:
      ValueError: lengths is empty, bounds do not increase, or an example is longer than all bounds.

    >>> sampler = BucketSampler(lengths=(3, 9, 2, 4, 8), bounds=(4, 10), batch_size=2, seed=0)
    >>> sorted((bound, len(indices)) for indices, bound in map(sampler.indices, range(3)))
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
            raise ValueError("lengths must have at least one length, got none; pass one")
        if bounds.size == 0 or (np.diff(bounds) <= 0).any():
            raise ValueError(f"bounds must increase, got {tuple(self.bounds)}; sort them")
        if lengths.max() > bounds[-1]:
            example = int(lengths.argmax())
            raise ValueError(
                f"lengths[{example}] must be <= {bounds[-1]}, the last of bounds, got "
                f"{lengths[example]}; raise the last bound"
            )
        bucket = np.searchsorted(bounds, lengths)
        members = tuple(np.flatnonzero(bucket == k) for k in range(len(bounds)))
        object.__setattr__(self, "_members", members)

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in which each example occurs once."""
        return -(-len(self.lengths) // self.batch_size)

    def indices(self, n: int) -> tuple[np.ndarray, int]:
        """Returns the indices of batch n, at most `batch_size`, and the length to pad to."""
        epoch, position = divmod(n, self.batches_per_epoch)
        batches, remainder = [], np.zeros(0, np.int64)
        for k, (members, bound) in enumerate(zip(self._members, self.bounds, strict=True)):
            order = members[permutation(len(members), self.seed, epoch, k)]
            waiting = np.concatenate([remainder, order])
            full = len(waiting) // self.batch_size * self.batch_size
            batches += [(part, bound) for part in waiting[:full].reshape(-1, self.batch_size)]
            remainder = waiting[full:]
        if len(remainder):
            batches.append((remainder, self.bounds[-1]))
        order = permutation(len(batches), self.seed, epoch, len(self.bounds))
        indices, bound = batches[order[position]]
        return indices, int(bound)
