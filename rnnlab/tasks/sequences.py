"""Sequences of different lengths from a file, and what is asked of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.optional import extra_file
from rnnlab.tasks.batch import Batch, scored
from rnnlab.tasks.batching.strategies import Batching
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.labelled_data import labelled, one_label, stratified, supervised
from rnnlab.tasks.readers.errors import refuse
from rnnlab.tasks.readers.npz import read_npz
from rnnlab.tasks.readers.ts import read_ts
from rnnlab.validation import require_positive_int

MOST_IDS = 1_000_000
"""The most token ids or classes: more are taken for a mistake, not for a table to allocate."""

_VOWELS = ("sktime", "datasets", "data", "JapaneseVowels")


@dataclass(frozen=True)
class Sequences:
    """A class or value of each sequence, or of each of its steps, from a `.ts` or `.npz` file.

    Without a path they are the Japanese Vowels of the UCI archive: which of 9 speakers said two
    vowels, from 12 coefficients a step over 7 to 29 steps; 270 utterances to train on, of which a
    share of each speaker's is kept for validation, and 370 to test on.

    Input values are standardised over the real steps of the training part, each feature by its
    own mean and deviation; those that do not vary there become 0. Target values lose their
    training mean and are scaled alike, so that RMSE and MAE stay in the data's own units. Where
    each sequence has one class, the parts have every class in the same share. A class asked once a
    sequence is asked at its last real step. Where scikit-learn is installed, F1 and ROC-AUC are
    given too, which tell more than accuracy where one class is rare.

    Attributes:
      path: a `.ts` file, or an `.npz` file as `rnnlab.tasks.readers.npz` reads it; None takes the
        vowels that sktime ships, which is not imported.
      test_path: a file like it to test on; None keeps a share of `path`'s rows.
      batching: how training rows share a batch: `"pad"`, `"bucket"` or `"pack"`.
      batch_size: rows a batch.
      valid, test: shares that are held out; `test` only where there is no `test_path`.

    Raises:
      ValueError: a setting is out of range, sktime is not installed, or a file is not readable.

    Source: Kudo, Toyama and Shimbo (1999), Multidimensional curve classification using
    passing-through regions, Pattern Recognition Letters 20.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "signs.npz")
    ...     values = np.random.default_rng(0).normal(size=(40, 6, 1))
    ...     np.savez(file, inputs=values, targets=(values.sum((1, 2)) > 0).astype(int))
    ...     data = Sequences(file, batch_size=8).load(seed=0)
    >>> data.out_features, data.train_batch(0).inputs.shape
    (2, (8, 6, 1))
    """

    path: Path | None = None
    test_path: Path | None = None
    batching: Batching = "pad"
    batch_size: int = 32
    valid: float = 0.1
    test: float = 0.15

    def __post_init__(self):
        require_positive_int(batch_size=self.batch_size)
        if self.path is None and self.test_path is not None:
            raise ValueError("test_path is given without path; give both, or path alone")

    def load(self, seed: int) -> TaskData:
        """Reads the files. `seed` orders the training batches."""
        path, test_path = self._files()
        known = _read(path)
        strata = known.rows.targets[scored(known.rows)]
        single = one_label(known.rows)
        if not single:
            strata = np.zeros(len(known.rows.inputs), int)
        shares = [self.valid] if test_path else [self.valid, self.test]
        try:
            parts = [_taken(known.rows, rows) for rows in stratified(strata, shares)]
        except ValueError as error:
            raise refuse(path, f"cannot be split: {error}") from None
        if test_path:
            parts.append(_read(test_path, known).rows)
        for name, part in zip(("training", "validation", "test"), parts, strict=True):
            if not scored(part).any():
                raise refuse(path, f"no target of the {name} part is scored; more are needed")
        classes = len(known.classes)
        tokens = known.rows.inputs.ndim == 2
        if not tokens:
            parts = _standardised_inputs(parts)
        target_scale = 1.0
        if not classes:
            parts, target_scale = _standardised_targets(path, parts)
        train, valid, test = parts
        return supervised(
            train,
            {"valid": valid, "test": test},
            out_features=classes or train.targets.shape[-1],
            batch_size=self.batch_size,
            seed=seed,
            vocab_size=known.vocab_size if tokens else None,
            batching=self.batching,
            target_scale=target_scale,
            metrics=("f1", "roc_auc") if classes and single and find_spec("sklearn") else (),
        )

    def _files(self) -> tuple[Path, Path | None]:
        if self.path is None:
            names = (f"JapaneseVowels_{part}.ts" for part in ("TRAIN", "TEST"))
            train, test = (extra_file(*_VOWELS, name) for name in names)
            return train, test
        return Path(self.path), self.test_path and Path(self.test_path)


class _File(NamedTuple):
    """A file's rows, with a mask, and what they are made of.

    Attributes:
      classes: their names, or numbers; empty where targets are values.
      vocab_size: number of token ids, 0 where inputs are values.
    """

    path: Path
    rows: Batch
    classes: Sequence[str] | range
    vocab_size: int


def _read(path: Path, train: _File | None = None) -> _File:
    """Reads a file: one to train on, or one to test on, of the kind, ids and classes of `train`."""
    readers = {".ts": _read_ts, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise refuse(path, "is neither a .ts nor an .npz file; one of them is needed")
    found = readers[path.suffix.lower()](path, train)
    if train is not None:
        _check_alike(found, train)
    elif len(found.classes) == 1:
        raise refuse(path, "has one class alone; at least 2 are needed")
    return found


def _read_ts(path: Path, train: _File | None) -> _File:
    read = read_ts(path, gaps=False)
    if not read.classes:
        raise refuse(path, "has no labels; @classLabel true is needed")
    if train is None:
        return _File(path, labelled(read.sequences, read.labels), read.classes, 0)
    unknown = sorted(set(read.classes) - set(train.classes))
    if unknown:
        known = ", ".join(map(str, train.classes[:20]))
        reason = f"has the class {unknown[0]!r}; those of {train.path.name} are needed: {known}"
        raise refuse(path, reason)
    labels = np.array([train.classes.index(name) for name in read.classes])[read.labels]
    return _File(path, labelled(read.sequences, labels), train.classes, 0)


def _read_npz(path: Path, train: _File | None) -> _File:
    limits = {"vocab_size": MOST_IDS, "num_classes": MOST_IDS}
    if train is not None:
        limits = {
            "vocab_size": train.vocab_size or MOST_IDS,
            "num_classes": len(train.classes) or MOST_IDS,
        }
    rows = read_npz(path, **limits)
    if rows.mask is None:
        rows = rows._replace(mask=np.ones(rows.inputs.shape[:2], bool))
    if not scored(rows).any():
        raise refuse(path, "has no scored target; at least one is needed")
    classes = range(0 if rows.targets.dtype.kind == "f" else 1 + int(rows.targets.max()))
    return _File(path, rows, classes, 1 + int(rows.inputs.max()) if rows.inputs.ndim == 2 else 0)


def _check_alike(test: _File, train: _File) -> None:
    """Refuses a test file whose rows are of another kind than the training file's."""
    for name, one, two in zip(("inputs", "targets"), train.rows[:2], test.rows[:2], strict=True):
        if one.dtype != two.dtype or one.shape[2:] != two.shape[2:]:
            raise refuse(
                test.path,
                f"{name} are {two.dtype} of {two.shape[2:]} a step; {one.dtype} of "
                f"{one.shape[2:]}, as in {train.path.name}, are needed",
            )
    if one_label(train.rows) != one_label(test.rows):
        raise refuse(
            test.path,
            f"one of it and {train.path.name} has a class a sequence, the other a class a step; "
            "the same is needed",
        )


def _taken(rows: Batch, numbers: np.ndarray) -> Batch:
    """Some of the rows, cut to the longest of them."""
    longest = int(rows.mask[numbers].sum(axis=1).max())
    return Batch(*(None if x is None else x[numbers, :longest] for x in rows))


def _standardised_inputs(parts: list[Batch]) -> list[Batch]:
    # In float64: sums of squares in float32 lose the deviation beside a large mean.
    steps = parts[0].inputs[parts[0].mask].astype(np.float64)
    mean, deviation = steps.mean(axis=0), steps.std(axis=0)
    varies = steps.max(axis=0) > steps.min(axis=0)
    scale = np.where(varies, deviation, np.inf)

    def standardised(part: Batch) -> Batch:
        inputs = np.where(part.mask[..., None], (part.inputs - mean) / scale, 0)
        return part._replace(inputs=inputs.astype(np.float32))

    return [standardised(part) for part in parts]


def _standardised_targets(path: Path, parts: list[Batch]) -> tuple[list[Batch], float]:
    """Targets less their training mean, over the deviation of all of them, which is the unit."""
    known = np.where(scored(parts[0]), parts[0].targets, np.nan).astype(np.float64)
    never = np.isnan(known).all(axis=(0, 1))
    if never.any():
        reason = f"target {int(never.argmax())} is scored nowhere in the training part"
        raise refuse(path, f"{reason}; leave it out, or score some of it")
    mean = np.nanmean(known, axis=(0, 1), keepdims=True)
    varies = (np.nanmax(known, axis=(0, 1)) > np.nanmin(known, axis=(0, 1))).any()
    target_scale = float(np.sqrt(np.nanmean((known - mean) ** 2))) if varies else 1.0

    def standardised(part: Batch) -> Batch:
        return part._replace(targets=((part.targets - mean) / target_scale).astype(np.float32))

    return [standardised(part) for part in parts], target_scale
