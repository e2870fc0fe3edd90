"""Features of the heartbeats of an electrocardiogram."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.datasets import dataset_files
from rnnlab.tasks.batch import IGNORE_INDEX
from rnnlab.tasks.readers.ecg import CLASSES, RATE, EcgRecord

CALIBRATION = 300
"""Beats at the start of a record whose median is what the others are compared with."""

BEFORE, AFTER = 18, 18
"""Samples around the peak of a beat."""

SHAPE = slice(2, 2 + 2 * (BEFORE + AFTER))
"""The features of the signal, after those of the two intervals."""

SCORED_CLASSES = CLASSES[:-1]
"""Normal, supraventricular, ventricular and fusion beats; others are not scored."""


VALIDATION = ("118", "124", "205", "223")
"""Records of DS1 that select: patients with beats of all classes, of which most remain to train."""


def ecg_file(path: Path | None) -> Path:
    """Returns the records of MIT-BIH, a file or a folder.

    Args:
      path: an `.npz` file, or a folder with it or with the original files; None is the data folder.

    Raises:
      DataError: the data set is missing or corrupt.
    """
    if path is not None and (Path(path).is_file() or any(Path(path).glob("*.hea"))):
        return Path(path)
    return dataset_files("mitbih", path)["mitbih"]


class Heartbeats(NamedTuple):
    """The beats of one record.

    Attributes:
      record: its name, one patient as a rule.
      features: (beats, 74) float32, see `heartbeats`.
      classes: (beats,) int32, indices in `SCORED_CLASSES`, or `IGNORE_INDEX`.
    """

    record: str
    features: np.ndarray
    classes: np.ndarray


def heartbeats(record: EcgRecord) -> Heartbeats:
    """Returns the beats of a record as features that are relative to its patient.

    Features 0 and 1 are the logarithms of the intervals before and after the beat, relative to the
    mean of up to ten intervals before it; 0 where unknown. The second one is known one beat later.
    The other features are the signal around the peak, and its difference from the median of the
    first `CALIBRATION` beats. Both are relative to the range of that median, so that electrodes
    that record less do not matter. No label is used.

    Args:
      record: of at least one beat.

    >>> signal = np.tile(np.r_[np.zeros(50), 1, np.zeros(49)], 4).astype(np.float32)
    >>> samples = 360 // RATE * (50 + 100 * np.arange(4))
    >>> beats = heartbeats(EcgRecord("100", "MLII", signal, samples, np.array([1, 5, 8, 13])))
    >>> beats.classes.tolist(), beats.features.shape
    ([0, 2, 1, -1], (4, 74))
    """
    seconds, classes = record.beats()
    rhythm, shape = intervals(seconds), signals(record)
    usual = np.median(shape[:CALIBRATION], axis=0)
    size = max(float(np.ptp(usual)), 1e-3)
    shape = (shape - np.median(usual)) / size
    relative = shape - (usual - np.median(usual)) / size
    return Heartbeats(
        record.name,
        np.concatenate([rhythm, shape, relative], 1).astype(np.float32),
        np.where(classes < len(SCORED_CLASSES), classes, IGNORE_INDEX).astype(np.int32),
    )


def intervals(seconds: np.ndarray) -> np.ndarray:
    """Returns the logarithms of the intervals before and after each beat, (beats, 2).

    They are relative to the mean of up to ten intervals before the beat; 0 where unknown.

    >>> intervals(np.array([0.0, 1.0, 2.0, 4.0])).round(2).tolist()
    [[0.0, 0.0], [0.0, 0.0], [0.0, 0.69], [0.69, 0.0]]
    """
    before = np.diff(seconds, prepend=np.nan)
    known = np.nan_to_num(np.concatenate([np.zeros(10), before]))
    windows = np.lib.stride_tricks.sliding_window_view(known, 10)[: len(seconds)]
    count = np.maximum((windows > 0).sum(1), 1)
    mean = windows.sum(1) / count
    mean = np.where(mean > 0, mean, np.nan)
    both = np.stack([before, np.append(before[1:], np.nan)], 1)
    return np.nan_to_num(np.log(np.maximum(both, 1e-3) / mean[:, None]))


def signals(record: EcgRecord) -> np.ndarray:
    """Returns the signal around the peak of each beat, (beats, 36) float32 in millivolts."""
    peaks = np.rint(record.beats()[0] * RATE).astype(int)
    at = peaks[:, None] + np.arange(-BEFORE, AFTER)
    return record.signal[np.clip(at, 0, len(record.signal) - 1)]


def stretched(features: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Returns beats whose signal is stretched in time around the peak, by one factor per example.

    Args:
      features: (examples, time, 74).
      strength: deviation of the logarithm of the factor.
      rng: of the factors.

    >>> same = stretched(np.ones((2, 3, 74), np.float32), 0.2, np.random.default_rng(0))
    >>> bool((same == 1).all())
    True
    """
    size = BEFORE + AFTER
    factor = np.exp(strength * rng.normal(size=(len(features), 1)))
    position = np.clip(BEFORE + (np.arange(size) - BEFORE)[None] * factor, 0, size - 1)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, size - 1)
    fraction = (position - low).astype(features.dtype)[:, None, None]
    signals = features[..., SHAPE].reshape(*features.shape[:2], 2, size)
    left, right = (np.take_along_axis(signals, x[:, None, None], axis=-1) for x in (low, high))
    changed = features.copy()
    changed[..., SHAPE] = (left + fraction * (right - left)).reshape(*features.shape[:2], -1)
    return changed
