"""Classes of heartbeats, some of which are rare, by patient."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from rnnlab.errors import DataError
from rnnlab.tasks.augment import Augmentation
from rnnlab.tasks.batch import IGNORE_INDEX, Batch, arrays
from rnnlab.tasks.batching.balanced import balanced_batches, require_share
from rnnlab.tasks.batching.padding import pad, split_batches
from rnnlab.tasks.batching.windows import window_slices
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.heartbeats import (
    SCORED_CLASSES,
    SHAPE,
    VALIDATION,
    Heartbeats,
    ecg_file,
    heartbeats,
    stretched,
)
from rnnlab.tasks.imbalance import class_weights, require_power
from rnnlab.tasks.operating_points import require_recall
from rnnlab.tasks.readers.ecg import DS1, DS2, read_ecg
from rnnlab.tasks.reference.boosting import boosting_scores, missing_packages
from rnnlab.tasks.splits import stratified
from rnnlab.validation import require_one_of, require_positive_int

Split = Literal["patients", "random"]


@dataclass(frozen=True)
class RareBeats:
    """Predict the class of every heartbeat of patients who are not in the training part.

    A time step is a beat. The data are the MIT-BIH arrhythmia database: 44 records of half an hour
    without paced ones, normal beats 89%, supraventricular 2.7%, ventricular 6.9% and fusion 0.8%.
    The test part is DS2, 22 other patients. The validation part is 4 patients of DS1. Each feature
    of `heartbeats` is standardized by the training part.

    Baselines are gradient boosting on the features of each beat, as it is, with class weights, and
    with SMOTE if imbalanced-learn is installed.

    Attributes:
      path: the `.npz` file of `rnnlab data`, or a folder with it or with the original files; None
        is the data folder, see `rnnlab data`.
      length: time steps per training example; half of each example is in the next one too.
      batch_size: examples per batch.
      split: `"patients"`; or `"random"`, which puts random windows of the records of all patients
        into the parts. Its scores are too high: neighbouring windows of one patient are in two
        parts. It shows what such an evaluation would claim.
      class_weights: power of the inverse frequency of a class, which weighs it in the loss: 0 to 1.
      focusing: exponent of the focal loss; 0 is the cross entropy.
      balance: share of the examples of a batch that are drawn by class, 0 to 1.
      augment: changes of `Augmentation`, such as jitter=0.1. Those of values change the signal
        only, and time_warp stretches the signal of each beat, not the sequence of beats.
      recall: of the classes S, V and F, at which the result reports the precision.

    Raises:
      ValueError: a setting is out of range.
      DataError: a file is missing or not readable.

    Source: de Chazal et al. 2004 (doi 10.1109/TBME.2004.827359) for the parts.
    """

    path: Path | None = None
    length: int = 256
    batch_size: int = 32
    split: Split = "patients"
    class_weights: float = 0.0
    focusing: float = 0.0
    balance: float = 0.0
    augment: tuple[str, ...] = ()
    recall: float = 0.8

    def __post_init__(self):
        require_positive_int(length=self.length, batch_size=self.batch_size)
        require_one_of("split", self.split, get_args(Split))
        require_power(self.class_weights)
        require_share(self.balance)
        require_recall(self.recall)
        Augmentation.parse(self.augment)

    def load(self, seed: int) -> TaskData:
        """Reads the records. `seed` draws the training batches."""
        train, valid, test = _parts(ecg_file(self.path), self.split, self.length)
        windows = _padded(_windows(train, self.length, max(self.length // 2, 1)))
        whole = {"valid": _padded(valid), "test": _padded(test)}
        take = balanced_batches(
            windows, len(SCORED_CLASSES), "pad", self.batch_size, seed, self.balance
        )
        scored = np.concatenate([beats.classes for beats in train])
        weights = class_weights(scored, len(SCORED_CLASSES), self.class_weights)
        recall = dict.fromkeys(SCORED_CLASSES[1:], self.recall)
        names = [f"average_precision/{name}" for name in SCORED_CLASSES[1:]]
        return TaskData(
            loss="categorical",
            metrics=("f1", "nll", "accuracy", *names),
            out_features=len(SCORED_CLASSES),
            train_batch=self._augmented(take, seed),
            eval_sets={
                name: functools.partial(split_batches, part, min(4, len(part.inputs)))
                for name, part in whole.items()
            },
            baselines=functools.partial(
                _baselines, ecg_file(self.path), self.split, self.length, tuple(recall.items())
            ),
            in_features=windows.inputs.shape[-1],
            classes=SCORED_CLASSES,
            fingerprint=fingerprint(
                *(x for part in (windows, *whole.values()) for x in arrays(part))
            ),
            loss_options={"class_weights": weights, "focusing": self.focusing},
            wanted_recall=recall,
            notes=(_describe(scored), *missing_packages()),
        )

    def _augmented(self, train_batch: Callable[[int], Batch], seed: int) -> Callable[[int], Batch]:
        changes = Augmentation.parse(self.augment)
        others = dataclasses.replace(changes, time_warp=0.0)

        def take(n: int) -> Batch:
            batch = others.apply(train_batch(n), seed, n, features=SHAPE)
            if not changes.time_warp:
                return batch
            rng = rng_for(RngStream.AUGMENT, seed, n, 1)
            return batch._replace(inputs=stretched(batch.inputs, changes.time_warp, rng))

        return take


@functools.lru_cache(maxsize=2)
def _parts(path: Path, split: Split, length: int) -> tuple[list[Heartbeats], ...]:
    """Training, validation and test part, standardized by the first."""
    records = [heartbeats(record) for record in read_ecg(path) if record.name in DS1 + DS2]
    if split == "patients":
        parts = [
            [beats for beats in records if beats.record in names]
            for names in ([x for x in DS1 if x not in VALIDATION], VALIDATION, DS2)
        ]
    else:
        windows = _windows(records, length, length)
        indices = stratified(np.array([x.classes.max() for x in windows]), [0.1, 0.5])
        parts = [[windows[k] for k in part] for part in indices]
    for name, part in zip(("training", "validation", "test"), parts, strict=True):
        if not part:
            raise DataError(
                f"{path}: must have a record of the {name} part, got none; give all records"
            )
    features = np.concatenate([beats.features for beats in parts[0]])
    mean, deviation = features.mean(0), features.std(0)
    scale = np.where(deviation > 0, deviation, np.inf)
    return tuple(
        [beats._replace(features=(beats.features - mean) / scale) for beats in part]
        for part in parts
    )


def _windows(records: Sequence[Heartbeats], length: int, stride: int) -> list[Heartbeats]:
    """Parts of records, of up to `length` beats, that start every `stride` beats."""
    return [
        Heartbeats(beats.record, *(x[window] for x in beats[1:]))
        for beats in records
        for window in window_slices(len(beats.classes), length, stride)
    ]


def _padded(records: Sequence[Heartbeats]) -> Batch:
    inputs, mask = pad([beats.features for beats in records])
    targets, _ = pad([beats.classes for beats in records], value=IGNORE_INDEX)
    return Batch(inputs, targets, mask)


@functools.lru_cache(maxsize=2)
def _baselines(
    path: Path, split: Split, length: int, recall: tuple[tuple[str, float], ...]
) -> Mapping[str, Mapping[str, float]]:
    """The scores of boosting on the features of single beats, once per process."""
    if not find_spec("sklearn"):
        return {}
    parts = []
    for part in _parts(path, split, length):
        features, classes = (np.concatenate(x) for x in list(zip(*part, strict=True))[1:])
        scored = classes != IGNORE_INDEX
        parts.append((features[scored], classes[scored]))
    return boosting_scores(*parts, SCORED_CLASSES, dict(recall))


def _describe(classes: np.ndarray) -> str:
    counts = np.bincount(classes[classes != IGNORE_INDEX], minlength=len(SCORED_CLASSES))
    shown = ", ".join(f"{name} {n:,}" for name, n in zip(SCORED_CLASSES, counts, strict=True))
    return f"the training part has the beats {shown}"
