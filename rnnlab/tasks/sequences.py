"""Labelled sequences of different lengths from a file."""

import dataclasses
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.optional import package_data_path
from rnnlab.tasks.augment import Augmentation
from rnnlab.tasks.batch import Batch, cut, loss_mask, select
from rnnlab.tasks.batching.balanced import require_share
from rnnlab.tasks.batching.strategies import Batching
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.data_files import save_arrays, save_table
from rnnlab.tasks.imbalance import require_power
from rnnlab.tasks.labelled_data import labelled_data
from rnnlab.tasks.readers.arrays import to_examples
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.examples import read_examples
from rnnlab.tasks.readers.labelled_table import TableColumns
from rnnlab.tasks.readers.memory import NAME, plain_arrays
from rnnlab.tasks.readers.table import read_table
from rnnlab.tasks.sequence_preparation import (
    MAX_VOCAB,
    SequencePreparation,
    example_ids,
)
from rnnlab.tasks.splits import stratified
from rnnlab.validation import require_positive_int

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
      path: a `.ts` file; an `.npz` file as `rnnlab.tasks.readers.npz` reads it, with targets that
        are integers, strings or floats; or a table (`.csv`, `.tsv`, `.parquet`) with one row per
        time step as `rnnlab.tasks.readers.labelled_table` reads it. None takes the vowels that
        sktime contains, without importing sktime.
      test_path: a file of the same kind to test on; None takes a fraction of `path`.
      batching: how training examples share a batch: `"pad"`, `"bucket"` or `"pack"`.
      batch_size: examples per batch.
      valid, test: fractions in the validation and the test part; `test` only without `test_path`.
      id: the column of a table that distinguishes sequences; None: each row is a sequence, and its
        columns are time steps.
      label: the column of a table that is the target.
      time: the column of a table that orders the rows of a sequence; None takes one whose name is
        such as `time` or `date`, else the order of the table.
      class_weights: power of the inverse frequency of a class, which weighs it in the loss: 0 to 1.
      focusing: exponent of the focal loss; 0 is the cross entropy.
      balance: share of the examples of a batch that are drawn by class, 0 to 1.
      augment: changes of `rnnlab.tasks.augment.Augmentation`, such as jitter=0.1.

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
    id: str | None = "id"
    label: str = "label"
    time: str | None = None
    class_weights: float = 0.0
    focusing: float = 0.0
    balance: float = 0.0
    augment: tuple[str, ...] = ()

    def __post_init__(self):
        require_positive_int(batch_size=self.batch_size)
        require_power(self.class_weights)
        require_share(self.balance)
        Augmentation.parse(self.augment)
        if self.path is None and self.test_path is not None:
            raise ValueError(
                "test_path must be used with path, got no path; give both or only path"
            )

    @classmethod
    def from_arrays(
        cls,
        inputs: Any,
        targets: Any,
        lengths: Any = None,
        *,
        path: Path | str | None = None,
        **settings: Any,
    ) -> "Sequences":
        """Returns the task for data in memory, which it writes to a file.

        A run reads its data again when it is resumed, verified or used for predictions, often in
        another process. So the arrays are written once, completely or not at all, to an `.npz` file
        whose name is a digest of its content. A file with the same content is not written again.

        Args:
          inputs: token ids (examples, time) of integers; values (examples, time) of floats or
            (examples, time, in_features); or a list of sequences of different lengths.
          targets: one per sequence or one per time step: integers or strings are classes, floats
            are values.
          lengths: (examples,), time steps of padded sequences; None if there is no padding.
          path: the `.npz` file to write; None is `runs/data/DIGEST.npz`.
          **settings: other attributes of the task.

        Raises:
          DataError: the arrays do not fit each other; ValueError if `path` has other data.
          InsufficientResourcesError: the file could not be written.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.npz")
        ...     task = Sequences.from_arrays([[0.5], [1.5, 2.5]], ["up", "down"], path=file)
        ...     sorted(np.load(task.path))
        ['inputs', 'lengths', 'targets']
        """
        arrays = plain_arrays(inputs, targets, lengths)
        to_examples(NAME, arrays)
        return cls(path=save_arrays(arrays, path), **settings)

    @classmethod
    def from_frame(
        cls, frame: Any, *, path: Path | str | None = None, **settings: Any
    ) -> "Sequences":
        """Returns the task for a `pandas.DataFrame`, which it writes to a file as `from_arrays`.

        Args:
          frame: a table with one row per time step, or per sequence if `id` is None.
          path: the `.csv` file to write; None is `runs/data/DIGEST.csv`.
          **settings: other attributes of the task, such as `id` and `label`.

        Raises:
          DataError: it is not a frame; ValueError if `path` has other data.
          InsufficientResourcesError: the file could not be written.
        """
        return cls(path=save_table(read_table(frame), path), **settings)

    def load(self, seed: int) -> TaskData:
        """Reads the files. `seed` orders the training batches."""
        path, test_path = self._files()
        columns = TableColumns(self.id, self.label, self.time)
        limits = {"vocab_size": MAX_VOCAB, "num_classes": MAX_VOCAB}
        examples = read_examples(path, **limits, columns=columns)
        preparation = SequencePreparation.of(path, examples, self.batch_size, columns)
        dataset = preparation.encode(path, examples)
        strata = np.zeros(len(dataset.inputs), int)
        are_classes = bool(preparation.classes)
        if are_classes and preparation.has_one_target:
            strata = dataset.targets[loss_mask(dataset)]
        fractions = [self.valid] if test_path else [self.valid, self.test]
        try:
            indices = stratified(strata, fractions)
        except ValueError as error:
            raise data_error(path, f"cannot be split: {error}") from None
        parts = [_select(dataset, part) for part in indices]
        if test_path:
            _, tested = preparation.read(test_path, labelled=True)
            parts.append(preparation.encode(test_path, tested))
            test_examples = example_ids(tested)
        else:
            test_examples = example_ids(examples)[indices[-1]]
        for name, part in zip(("training", "validation", "test"), parts, strict=True):
            if not loss_mask(part).any():
                raise data_error(
                    path, f"must have a scored target in its {name} part, got none; add some"
                )
        preparation = preparation.fitted(parts[0])
        train, valid, test = map(preparation.standardize, parts)
        has_f1 = are_classes and preparation.has_one_target and find_spec("sklearn")
        data = labelled_data(
            train,
            {"valid": valid, "test": test},
            out_features=preparation.out_features,
            batch_size=self.batch_size,
            seed=seed,
            vocab_size=preparation.vocab_size,
            batching=self.batching,
            target_scale=preparation.target_scale,
            metrics=("f1", "roc_auc") if has_f1 else (),
            class_weights=self.class_weights,
            focusing=self.focusing,
            balance=self.balance,
            augmentation=Augmentation.parse(self.augment),
        )
        return dataclasses.replace(
            data,
            preparation=dataclasses.replace(
                preparation, test=data.eval_sets["test"], test_examples=test_examples
            ),
            classes=preparation.classes,
            example_ids=test_examples,
            notes=() if self.path is None else (preparation.describe(dataset),),
        )

    def _files(self) -> tuple[Path, Path | None]:
        if self.path is None:
            names = (f"JapaneseVowels_{part}.ts" for part in ("TRAIN", "TEST"))
            train, test = (package_data_path(*_VOWELS, name) for name in names)
            return train, test
        return Path(self.path), self.test_path and Path(self.test_path)


def _select(dataset: Batch, indices: np.ndarray) -> Batch:
    """Some of the examples, cut to the longest of them."""
    longest = int(dataset.mask[indices].sum(axis=1).max())
    return cut(select(dataset, indices), longest)
