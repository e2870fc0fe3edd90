"""Labelled sequences of different lengths from a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.optional import package_data_path
from rnnlab.tasks.batch import Batch, loss_mask
from rnnlab.tasks.batching.strategies import Batching
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.labelled_data import labelled_data, one_label, pad_labelled, stratified
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.npz import read_npz
from rnnlab.tasks.readers.ts import read_ts
from rnnlab.validation import require_positive_int

MAX_VOCAB = 1_000_000
"""Greatest number of token ids or classes: more indicate a mistake in the file."""

_VOWELS = ("sktime", "datasets", "data", "JapaneseVowels")


@dataclass(frozen=True)
class Sequences:
    """Predict a class or values of each sequence, or of each of its time steps, from a file.

    The default data are the Japanese Vowels of the UCI archive: which of 9 speakers spoke two
    vowels, from 12 coefficients per time step over 7 to 29 time steps. There are 270 utterances to
    train on, of which a fraction per speaker is the validation part, and 370 to test on.

    Input values are standardized by the mean and deviation of each feature over the time steps of
    the training part; features that do not vary there become 0. Target values are standardized by
    their training means and one common deviation; RMSE and MAE are in the data's own units. If each
    sequence has one class, the parts are stratified by class. A class per sequence is predicted at
    its last time step. If scikit-learn is installed, the metrics include F1 and ROC-AUC, which are
    more informative than accuracy for rare classes.

    Attributes:
      path: a `.ts` file, or an `.npz` file as `rnnlab.tasks.readers.npz` reads it; None takes the
        vowels that sktime contains, without importing sktime.
      test_path: a file of the same kind to test on; None takes a fraction of `path`.
      batching: how training examples share a batch: `"pad"`, `"bucket"` or `"pack"`.
      batch_size: examples per batch.
      valid, test: fractions in the validation and the test part; `test` only without `test_path`.

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
            raise ValueError(
                "test_path must be used with path, got no path; give both or only path"
            )

    def load(self, seed: int) -> TaskData:
        """Reads the files. `seed` orders the training batches."""
        path, test_path = self._files()
        known = _read(path)
        strata = known.dataset.targets[loss_mask(known.dataset)]
        single = one_label(known.dataset)
        if not single:
            strata = np.zeros(len(known.dataset.inputs), int)
        fractions = [self.valid] if test_path else [self.valid, self.test]
        try:
            parts = [_select(known.dataset, part) for part in stratified(strata, fractions)]
        except ValueError as error:
            raise data_error(path, f"cannot be split: {error}") from None
        if test_path:
            parts.append(_read(test_path, known).dataset)
        for name, part in zip(("training", "validation", "test"), parts, strict=True):
            if not loss_mask(part).any():
                raise data_error(
                    path, f"must have a scored target in its {name} part, got none; add some"
                )
        classes = len(known.classes)
        tokens = known.dataset.inputs.ndim == 2
        if not tokens:
            parts = _standardize_inputs(parts)
        target_scale = 1.0
        if not classes:
            parts, target_scale = _standardize_targets(path, parts)
        train, valid, test = parts
        return labelled_data(
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
            train, test = (package_data_path(*_VOWELS, name) for name in names)
            return train, test
        return Path(self.path), self.test_path and Path(self.test_path)


class LoadedFile(NamedTuple):
    """The examples of a file.

    Attributes:
      path: the file.
      dataset: its examples, with a mask.
      classes: names or numbers of the classes; empty where targets are values.
      vocab_size: number of token ids, 0 where inputs are values.
    """

    path: Path
    dataset: Batch
    classes: Sequence[str] | range
    vocab_size: int


def _read(path: Path, train: LoadedFile | None = None) -> LoadedFile:
    """Reads a training file; or, given `train`, a test file with its kind, ids and classes."""
    readers = {".ts": _read_ts, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise data_error(path, "must be a .ts or .npz file; convert it")
    loaded = readers[path.suffix.lower()](path, train)
    if train is not None:
        _check_alike(loaded, train)
    elif len(loaded.classes) == 1:
        raise data_error(path, "must have >= 2 classes, got 1; add examples of another class")
    return loaded


def _read_ts(path: Path, train: LoadedFile | None) -> LoadedFile:
    read = read_ts(path, gaps=False)
    if not read.classes:
        raise data_error(path, "must have labels, got none; write @classLabel true and the labels")
    if train is None:
        return LoadedFile(path, pad_labelled(read.sequences, read.labels), read.classes, 0)
    unknown = sorted(set(read.classes) - set(train.classes))
    if unknown:
        known = ", ".join(map(str, train.classes[:20]))
        reason = f"must have only the classes of {train.path.name}, got {unknown[0]!r}"
        raise data_error(path, f"{reason}; use one of {known}")
    labels = np.array([train.classes.index(name) for name in read.classes])[read.labels]
    return LoadedFile(path, pad_labelled(read.sequences, labels), train.classes, 0)


def _read_npz(path: Path, train: LoadedFile | None) -> LoadedFile:
    limits = {"vocab_size": MAX_VOCAB, "num_classes": MAX_VOCAB}
    if train is not None:
        limits = {
            "vocab_size": train.vocab_size or MAX_VOCAB,
            "num_classes": len(train.classes) or MAX_VOCAB,
        }
    dataset = read_npz(path, **limits)
    if dataset.mask is None:
        dataset = dataset._replace(mask=np.ones(dataset.inputs.shape[:2], bool))
    if not loss_mask(dataset).any():
        raise data_error(path, "must have a scored target, got none; label a time step")
    classes = range(0 if dataset.targets.dtype.kind == "f" else 1 + int(dataset.targets.max()))
    vocab_size = 1 + int(dataset.inputs.max()) if dataset.inputs.ndim == 2 else 0
    return LoadedFile(path, dataset, classes, vocab_size)


def _check_alike(test: LoadedFile, train: LoadedFile) -> None:
    """Raises if the examples of the test file are of another kind than the training examples."""
    for name, one, two in zip(
        ("inputs", "targets"), train.dataset[:2], test.dataset[:2], strict=True
    ):
        if one.dtype != two.dtype or one.shape[2:] != two.shape[2:]:
            raise data_error(
                test.path,
                f"{name} must be {one.dtype} of shape {one.shape[2:]} per time step, as in "
                f"{train.path.name}, got {two.dtype} of shape {two.shape[2:]}; convert it",
            )
    if one_label(train.dataset) != one_label(test.dataset):
        raise data_error(
            test.path,
            f"must have a class per sequence or per time step, as {train.path.name} has, got the "
            "other; relabel one of them",
        )


def _select(dataset: Batch, indices: np.ndarray) -> Batch:
    """Some of the examples, cut to the longest of them."""
    longest = int(dataset.mask[indices].sum(axis=1).max())
    return Batch(*(None if x is None else x[indices, :longest] for x in dataset))


def _standardize_inputs(parts: list[Batch]) -> list[Batch]:
    # In float64: float32 sums of squares lose a small deviation around a large mean.
    steps = parts[0].inputs[parts[0].mask].astype(np.float64)
    mean, deviation = steps.mean(axis=0), steps.std(axis=0)
    varies = steps.max(axis=0) > steps.min(axis=0)
    scale = np.where(varies, deviation, np.inf)

    def standardize(part: Batch) -> Batch:
        inputs = np.where(part.mask[..., None], (part.inputs - mean) / scale, 0)
        return part._replace(inputs=inputs.astype(np.float32))

    return [standardize(part) for part in parts]


def _standardize_targets(path: Path, parts: list[Batch]) -> tuple[list[Batch], float]:
    """Targets minus their training mean, divided by the target scale, which is returned too."""
    known = np.where(loss_mask(parts[0]), parts[0].targets, np.nan).astype(np.float64)
    never = np.isnan(known).all(axis=(0, 1))
    if never.any():
        reason = f"target {int(never.argmax())} must be scored in the training part, got nowhere"
        raise data_error(path, f"{reason}; remove it or score some of it")
    mean = np.nanmean(known, axis=(0, 1), keepdims=True)
    varies = (np.nanmax(known, axis=(0, 1)) > np.nanmin(known, axis=(0, 1))).any()
    target_scale = float(np.sqrt(np.nanmean((known - mean) ** 2))) if varies else 1.0

    def standardize(part: Batch) -> Batch:
        return part._replace(targets=((part.targets - mean) / target_scale).astype(np.float32))

    return [standardize(part) for part in parts], target_scale
