"""Frauds among card transactions, by time."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from rnnlab.tasks.augment import Augmentation
from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.tasks.batching.padding import pad
from rnnlab.tasks.batching.windows import window_slices
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.labelled_data import labelled_data
from rnnlab.tasks.operating_points import require_recall
from rnnlab.tasks.readers.card_transactions import CardTransactions, read_card_transactions
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.reference.boosting import boosting_scores, missing_packages
from rnnlab.tasks.splits import by_time
from rnnlab.validation import require_positive_int

CLASSES = ("usual", "fraud")
DAY = 86_400.0
"""Seconds of the first day, which trains; the rest tests."""


@dataclass(frozen=True)
class CardFraud:
    """Predict which card transactions are frauds, 0.17% of them, from those of an earlier day.

    A time step is a transaction. The table does not name its card: a sequence is the
    transactions of all customers in the order of time. The first day trains, except its last part,
    which validates, and the second day tests. Equal rows are dropped first. Inputs are the 28
    components, the logarithms of the amount and of the time since the transaction before, and the
    time of day; they are standardized by the training part.

    The first metric is the average precision of frauds: an accuracy of 99.8% finds none.
    Baselines are gradient boosting on single transactions, as it is, with class weights, and with
    SMOTE of the training part if imbalanced-learn is installed.

    Attributes:
      path: `creditcard.csv`, which is not part of the package.
      length: time steps per training example; half of each example is in the next one too.
      evaluation_length: time steps per example of the other parts.
      batch_size: examples per batch.
      valid: fraction of the first day, its end.
      class_weights: power of the inverse frequency of a class, which weighs it in the loss: 0 to 1.
      focusing: exponent of the focal loss; 0 is the cross entropy.
      balance: share of the examples of a batch that are drawn by class, 0 to 1.
      augment: changes of `rnnlab.tasks.augment.Augmentation`, such as jitter=0.1.
      recall: of frauds, at which the result reports the precision.

    Raises:
      ValueError: a setting is out of range, or there is no path.
      DataError: the file is not readable, or a part has no fraud.
    """

    path: Path | None = None
    length: int = 256
    evaluation_length: int = 4096
    batch_size: int = 32
    valid: float = 0.2
    class_weights: float = 0.0
    focusing: float = 0.0
    balance: float = 0.0
    augment: tuple[str, ...] = ()
    recall: float = 0.8

    def __post_init__(self):
        sizes = {"length": self.length, "evaluation_length": self.evaluation_length}
        require_positive_int(batch_size=self.batch_size, **sizes)
        require_recall(self.recall)
        Augmentation.parse(self.augment)

    def load(self, seed: int) -> TaskData:
        """Reads the file. `seed` draws the training batches."""
        if self.path is None:
            raise ValueError("path must be the file creditcard.csv, got none; pass --data.path")
        parts, note = _parts(Path(self.path), self.valid)
        (train, *others) = parts
        stride = max(self.length // 2, 1)
        data = labelled_data(
            _windows(*train, self.length, stride),
            {
                name: _windows(*part, self.evaluation_length, self.evaluation_length)
                for name, part in zip(("valid", "test"), others, strict=True)
            },
            out_features=len(CLASSES),
            batch_size=self.batch_size,
            seed=seed,
            class_weights=self.class_weights,
            focusing=self.focusing,
            balance=self.balance,
            augmentation=Augmentation.parse(self.augment),
        )
        return dataclasses.replace(
            data,
            metrics=("average_precision/fraud", "roc_auc", "nll"),
            baselines=functools.partial(_baselines, Path(self.path), self.valid, self.recall),
            classes=CLASSES,
            wanted_recall={"fraud": self.recall},
            notes=(note, *missing_packages()),
        )


Part = tuple[np.ndarray, np.ndarray]
"""Inputs (transactions, 32) and classes (transactions,) of a part."""


@functools.lru_cache(maxsize=1)
def _parts(path: Path, valid: float) -> tuple[list[Part], str]:
    """Training, validation and test part, standardized by the first, and a sentence on them."""
    read = read_card_transactions(path)
    first_day = read.seconds < DAY
    if not (read.classes[first_day].any() and read.classes[~first_day].any()):
        raise data_error(path, "must have frauds before and after 86400 seconds; give all rows")
    fit, choose = by_time(read.seconds[first_day], [valid])
    indices = [fit, choose, np.flatnonzero(~first_day)]
    inputs = card_features(read)
    mean, deviation = inputs[fit].mean(0), inputs[fit].std(0)
    inputs = (inputs - mean) / np.where(deviation > 0, deviation, np.inf)
    counts = [int(read.classes[part].sum()) for part in indices]
    if not all(counts):
        raise data_error(path, f"must have frauds in every part, got {counts}; change valid")
    names = ("training", "validation", "test")
    shown = ", ".join(
        f"{len(part):,} {name} ({count} frauds)"
        for name, part, count in zip(names, indices, counts, strict=True)
    )
    parts = [(inputs[part].astype(np.float32), read.classes[part]) for part in indices]
    return parts, f"transactions without {read.duplicates:,} equal rows: {shown}"


def card_features(read: CardTransactions) -> np.ndarray:
    """Returns the inputs of transactions, (transactions, 32) float64.

    They are the components, log(1 + amount), log(1 + seconds since the transaction before), and
    sine and cosine of the time of day. None depends on a later transaction.
    """
    angle = 2 * np.pi * read.seconds / DAY
    columns = (
        np.log1p(np.maximum(read.amounts, 0)),
        np.log1p(np.diff(read.seconds, prepend=read.seconds[:1])),
        np.sin(angle),
        np.cos(angle),
    )
    return np.concatenate([read.components, np.stack(columns, 1)], 1)


def _windows(inputs: np.ndarray, classes: np.ndarray, length: int, stride: int) -> Batch:
    windows = window_slices(len(classes), length, stride)
    padded, mask = pad([inputs[window] for window in windows])
    targets, _ = pad([classes[window] for window in windows], value=IGNORE_INDEX)
    return Batch(padded, targets, mask)


@functools.lru_cache(maxsize=1)
def _baselines(path: Path, valid: float, recall: float) -> Mapping[str, Mapping[str, float]]:
    """The scores of boosting on single transactions, once per process."""
    if not find_spec("sklearn"):
        return {}
    parts, _ = _parts(path, valid)
    return boosting_scores(*parts, CLASSES, {"fraud": recall})
