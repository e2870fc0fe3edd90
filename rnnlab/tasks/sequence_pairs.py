"""Pairs of sequences, such as words and their phones, as batches in buckets of similar length.

A pair has a source and one or more targets, each of which is right. A training batch has one of
them per example, drawn from (seed, batch number).
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from rnnlab.tasks.batch import IGNORE_INDEX, Batch, Source
from rnnlab.tasks.batching.padding import BucketSampler, pad, pad_batch
from rnnlab.tasks.data import RngStream, rng_for
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.validation import require_one_of

Alignment = Literal["attention", "ctc", "transducer"]
"""How a model aligns a source with a target: a decoder attends to the source; or the source is the
input, and every time step emits labels."""

END = 0
"""Label that ends a target of an encoder-decoder, and the blank of the other alignments."""

QUANTILES = (0.5, 0.95, 1.0)
"""Of the lengths of pairs, which are the bounds of the buckets."""

Bounds = Mapping[int, tuple[int, int]]
"""The lengths of the source and the target by the greatest length of a pair, which increases."""


@dataclass(frozen=True)
class PairForm:
    """The form in which pairs are a batch.

    Attributes:
      alignment: `"attention"`: inputs are the begin and the target, targets are the target and the
        end, and the source is `Batch.source`. Otherwise inputs are the source, and the target is
        `Batch.labels`.
      begin: token that the decoder reads first.
      repeats: time steps per token of a source that is the input, since CTC needs at least one per
        label.
    """

    alignment: Alignment = "attention"
    begin: int = 1
    repeats: int = 1

    def __post_init__(self) -> None:
        require_one_of("alignment", self.alignment, ("attention", "ctc", "transducer"))

    def fits(self, source: np.ndarray, target: np.ndarray) -> bool:
        """Returns whether the alignment can produce a target: CTC needs a time step per label.

        >>> PairForm("ctc").fits(np.array([1, 2]), np.array([3, 3]))  # a blank between equal labels
        False
        """
        if self.alignment != "ctc":
            return True
        equal_neighbors = int((target[1:] == target[:-1]).sum())
        return self.repeats * len(source) >= len(target) + equal_neighbors

    def batch(
        self,
        sources: Sequence[np.ndarray],
        targets: Sequence[np.ndarray],
        lengths: tuple[int, int] | None = None,
        examples: np.ndarray | None = None,
    ) -> Batch:
        """Returns pairs as a batch.

        Args:
          sources, targets: token ids of each.
          lengths: of the source and the target, to which they are padded; None: the longest.
          examples: (pairs,) their numbers.

        >>> pair = [np.array([4, 5])], [np.array([2])]
        >>> batch = PairForm(begin=1).batch(*pair)
        >>> batch.inputs.tolist(), batch.targets.tolist(), batch.source.inputs.tolist()
        ([[1, 2]], [[2, 0]], [[4, 5]])
        >>> batch = PairForm("ctc", repeats=2).batch(*pair)
        >>> batch.inputs.tolist(), batch.labels.tolist()
        ([[4, 4, 5, 5]], [[2]])
        """
        source_length, target_length = lengths or (
            max(map(len, sources)),
            max(map(len, targets)),
        )
        if self.alignment == "attention":
            begin, end = np.array([[self.begin], [END]], np.int32)
            inputs, mask = pad([np.concatenate([begin, x]) for x in targets], target_length + 1)
            outputs = [np.concatenate([x, end]) for x in targets]
            targets, _ = pad(outputs, target_length + 1, value=IGNORE_INDEX)
            return Batch(
                inputs, targets, mask, source=Source(*pad(sources, source_length)), example=examples
            )
        repeated = [np.repeat(x, self.repeats) for x in sources]
        inputs, mask = pad(repeated, source_length * self.repeats)
        labels, _ = pad(targets, target_length, value=IGNORE_INDEX)
        return Batch(inputs, None, mask, labels=labels, example=examples)

    def source_batch(self, sources: Sequence[np.ndarray], length: int) -> Batch:
        """Returns sources without targets as a batch, from which a trained model predicts.

        Args:
          sources: token ids of each.
          length: to which they are padded.
        """
        nothing = [np.zeros(0, np.int32)] * len(sources)
        batch = self.batch(sources, nothing, (length, 1), np.arange(len(sources), dtype=np.int32))
        if batch.targets is None:
            return batch
        return batch._replace(targets=np.full_like(batch.targets, IGNORE_INDEX))


@dataclass(frozen=True, eq=False)
class SequencePairs:
    """The pairs of a part of a data set.

    Attributes:
      sources: token ids of each, (source_length,) of int32.
      choices: the right targets of each, (target_length,) of int32, at least one.
      form: of their batches.
      bounds: lengths to which batches are padded, see `with_common_bounds`; None: of these pairs.
    """

    sources: Sequence[np.ndarray] = field(repr=False)
    choices: Sequence[Sequence[np.ndarray]] = field(repr=False)
    form: PairForm = PairForm()
    bounds: Bounds | None = field(default=None, repr=False)

    @property
    def lengths(self) -> np.ndarray:
        """The length of each pair: that of its source or of its longest target, (pairs,)."""
        return np.array(
            [
                max(len(source), *map(len, targets))
                for source, targets in zip(self.sources, self.choices, strict=True)
            ]
        )

    @property
    def longest_target(self) -> int:
        """The greatest length of a target."""
        return max(len(x) for targets in self.choices for x in targets)

    def training_batches(self, batch_size: int, seed: int) -> Callable[[int], Batch]:
        """Returns a function from a number 0, 1, 2, ... to a training batch.

        Each pair occurs once per epoch. One of its targets is drawn each time. Batches have at most
        `len(QUANTILES)` shapes, so that few programs are compiled.

        Args:
          batch_size: pairs per batch, at most those available.
          seed: of the order and the draws.
        """
        size = min(batch_size, len(self.sources))
        bounds = self.bounds or length_bounds([self])
        sampler = BucketSampler(self.lengths.tolist(), list(bounds), size, seed)

        def train_batch(n: int) -> Batch:
            indices, bound = sampler.indices(n)
            drawn = rng_for(RngStream.TRAIN, seed, n).random(len(indices))
            targets = [
                self.choices[k][int(u * len(self.choices[k]))]
                for k, u in zip(indices, drawn, strict=True)
            ]
            return self._batch(indices, targets, bounds[bound], size)

        return train_batch

    def eval_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields all pairs once, each with its first target, in buckets."""
        lengths = self.lengths
        order, start = np.argsort(lengths, kind="stable"), 0
        size = min(batch_size, len(order))
        bounds = self.bounds or length_bounds([self])
        while start < len(order):
            bound = next(x for x in bounds if x >= lengths[order[start]])
            indices = order[start : start + size]
            indices = indices[lengths[indices] <= bound]
            start += len(indices)
            targets = [self.choices[k][0] for k in indices]
            yield self._batch(indices, targets, bounds[bound], size)

    def digest(self) -> str:
        """Returns the fingerprint of all token ids."""
        targets = [x for of in self.choices for x in of]
        parts = [self.sources, targets]
        lengths = [np.array([len(x) for x in part], np.int32) for part in parts]
        counts = np.array([len(of) for of in self.choices], np.int32)
        ids = [np.concatenate(part).astype(np.int32) for part in parts]
        return fingerprint(*ids, *lengths, counts, repr(self.form))

    def _batch(
        self,
        indices: np.ndarray,
        targets: Sequence[np.ndarray],
        lengths: tuple[int, int],
        batch_size: int,
    ) -> Batch:
        sources = [self.sources[k] for k in indices]
        batch = self.form.batch(sources, targets, lengths, indices.astype(np.int32))
        return pad_batch(batch, batch_size)


def length_bounds(parts: Iterable[SequencePairs]) -> Bounds:
    """Returns the lengths to which pairs are padded, from all parts of a data set.

    A bucket has the pairs whose length is at most its bound. What remains of a bucket moves to the
    next one, whose lengths are therefore not less than those before it.

    >>> pairs = SequencePairs([np.zeros(2, int), np.zeros(5, int)], [[np.zeros(3, int)]] * 2)
    >>> length_bounds([pairs])
    {4: (2, 3), 5: (5, 3)}
    """
    parts = list(parts)
    lengths = np.concatenate([part.lengths for part in parts])
    sources = np.array([len(x) for part in parts for x in part.sources])
    targets = np.array([max(map(len, of)) for part in parts for of in part.choices])
    bounds = np.unique(np.ceil(np.quantile(lengths, QUANTILES)).astype(int)).tolist()
    return {
        bound: tuple(int(x[lengths <= bound].max()) for x in (sources, targets)) for bound in bounds
    }


def with_common_bounds(parts: Mapping[str, SequencePairs]) -> dict[str, SequencePairs]:
    """Returns the parts of a data set, whose batches have common lengths and so share programs."""
    bounds = length_bounds(parts.values())
    return {name: dataclasses.replace(part, bounds=bounds) for name, part in parts.items()}
