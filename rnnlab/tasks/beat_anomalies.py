"""Anomalous heartbeats, found by a forecast or a reconstruction that was trained on normal ones."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jax import Array
from scipy import stats

from rnnlab.heads import StudentT
from rnnlab.tasks.batch import Batch, arrays
from rnnlab.tasks.batching.padding import pad, split_batches
from rnnlab.tasks.batching.strategies import training_batches
from rnnlab.tasks.batching.windows import window_slices
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.heartbeats import CALIBRATION, VALIDATION, ecg_file, intervals, signals
from rnnlab.tasks.masked_beats import PERIOD, hidden_beats, hide_at_random, hide_each_once
from rnnlab.tasks.readers.ecg import DS1, DS2, EcgRecord, read_ecg
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.reference import anomaly_scores
from rnnlab.tasks.reference.anomaly_scores import NORMAL, ScoredBeats
from rnnlab.validation import require_one_of, require_positive_int

ALL = DS1 + DS2
HOURS = 0.5
"""Length of a record."""


@dataclass(frozen=True)
class BeatAnomalies:
    """Find ventricular and supraventricular beats without labels, by the error of a forecast.

    A time step is a beat. From the beats so far, a Student t distribution of each feature of the
    next one is forecast: of its shape, and of the logarithm of the interval before it, relative to
    the mean of ten intervals. Only normal beats of 18 patients are trained on, so a beat that the
    forecast misses is not a normal one. A beat's scores are the squared error of its shape, and how
    much earlier it comes than was forecast, in units of the forecast's scale.

    Two questions are asked of 22 other patients: ventricular beats (V) among normal ones by the
    first score, supraventricular ones (S) by the second. Metrics are the average precision, the
    area under the ROC curve, and false alarms per hour at a recall of 90%. There is no point
    adjustment: each beat is one decision. The likelihood of the normal beats of 4 other patients
    selects the step: an anomaly has no part in it.

    With the method `"reconstruction"` every eighth beat is hidden, and a model reconstructs it from
    those around it; give it `bidirectional` to read both sides. Each beat is hidden once. The
    scores are the same, of a distribution that also knows what follows.

    Attributes:
      path: the `.npz` file of `rnnlab data`, or a folder with the original files; None is the data
        folder.
      length: time steps per training example.
      batch_size: examples per batch.
      method: what a beat is compared with: its forecast, or its reconstruction.

    Raises:
      ValueError: a setting is out of range.
      DataError: a file is missing or not readable.

    >>> BeatAnomalies(length=128).batch_size
    32
    """

    path: Path | None = None
    length: int = 256
    batch_size: int = 32
    method: Literal["forecast", "reconstruction"] = "forecast"

    def __post_init__(self):
        require_positive_int(length=self.length, batch_size=self.batch_size)
        require_one_of("method", self.method, ("forecast", "reconstruction"))

    def load(self, seed: int) -> TaskData:
        """Reads the records. `seed` orders the training batches."""
        file = ecg_file(self.path)
        train, *evaluated = _parts(file)
        is_forecast = self.method == "forecast"
        example_of = _next_beats if is_forecast else _same_beats
        windows = _padded(
            [
                tuple(x[window] for x in pair)
                for pair in map(example_of, train)
                for window in window_slices(len(pair[0]), self.length, max(self.length // 2, 1))
            ]
        )
        head = StudentT(windows.targets.shape[-1])
        # The numbers of the test records follow those of the validation records.
        records = [record for part in evaluated for record in part]
        sets, first = {}, 0
        for name, part in zip(("valid", "test"), evaluated, strict=True):
            example = np.arange(first, first + len(part), dtype=np.int32)
            batch = _padded([example_of(x) for x in part])._replace(example=example)
            sets[name] = batch if is_forecast else hide_each_once(batch)
            first += len(part)
        train_batch = training_batches(windows, "pad", self.batch_size, seed)

        def decode(outputs: np.ndarray, batch: Batch) -> list[tuple[ScoredBeats, None]]:
            if is_forecast:
                predicted, first, hours = batch.mask, 1, HOURS
            else:
                predicted, first, hours = hidden_beats(batch), 0, HOURS / PERIOD
            return [
                (
                    _scored(head.named(output[at]), records[k], np.flatnonzero(at) + first, hours),
                    None,
                )
                for output, at, k in zip(outputs, predicted, batch.example, strict=True)
                if k >= 0
            ]

        return TaskData(
            loss=head,
            metrics=tuple(anomaly_scores.METRICS),
            selection_metric="forecast_nll",
            out_features=head.out_features,
            train_batch=train_batch if is_forecast else hide_at_random(train_batch, seed),
            eval_sets={
                name: functools.partial(split_batches, batch, min(4, len(batch.inputs)))
                for name, batch in sets.items()
            },
            baselines=lambda: _baselines(file),
            in_features=sets["test"].inputs.shape[-1],
            autoregressive=is_forecast,
            decode=decode,
            fingerprint=fingerprint(
                *(x for part in (windows, *sets.values()) for x in arrays(part))
            ),
        )


class _Record(NamedTuple):
    """The beats of one patient: (beats, 37) features and (beats,) indices in `CLASSES`."""

    features: np.ndarray
    classes: np.ndarray


@functools.lru_cache(maxsize=2)
def _parts(path: Path) -> tuple[list[_Record], list[_Record], list[_Record]]:
    """Training, validation and test records, scaled by the normal training beats."""
    records = {record.name: _record(record) for record in read_ecg(path) if record.name in ALL}
    names = [x for x in DS1 if x not in VALIDATION], VALIDATION, DS2
    parts = [[records[name] for name in part if name in records] for part in names]
    for name, part in zip(("training", "validation", "test"), parts, strict=True):
        if not part:
            raise data_error(path, f"must have a record of the {name} part, got none; give all")
    normal = np.concatenate([x.features[x.classes == NORMAL] for x in parts[0]])
    rhythm, shape = normal[:, 0].std(), np.sqrt(np.mean(np.square(normal[:, 1:])))
    # One scale for the signal, so that the size of an error does not depend on the sample.
    scale = np.append(rhythm, np.full(normal.shape[1] - 1, shape)).astype(np.float32)
    train, valid, test = (
        [x._replace(features=x.features / np.maximum(scale, 1e-6)) for x in part] for part in parts
    )
    return train, valid, test


def _record(record: EcgRecord) -> _Record:
    """The interval before each beat and its signal, relative to the patient's usual beat.

    The signal is that around the peak, less its own mean, because the baseline wanders, and less
    the median of the first `CALIBRATION` beats. No label is used.
    """
    seconds, classes = record.beats()
    shape = signals(record)
    shape = shape - shape.mean(1, keepdims=True)
    relative = shape - np.median(shape[:CALIBRATION], axis=0)
    features = np.concatenate([intervals(seconds)[:, :1], relative], 1)
    return _Record(features.astype(np.float32), classes)


def _next_beats(record: _Record) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets: each beat, and the one after it where that is normal."""
    targets = record.features[1:].copy()
    targets[record.classes[1:] != NORMAL] = np.nan
    return record.features[:-1], targets


def _same_beats(record: _Record) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets: each beat, and itself where it is normal."""
    is_normal = (record.classes == NORMAL)[:, None]
    return record.features, np.where(is_normal, record.features, np.nan)


def _padded(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Batch:
    inputs, mask = pad([x for x, _ in pairs])
    targets, _ = pad([y for _, y in pairs], value=np.nan)
    return Batch(inputs, targets, mask)


def _scored(
    forecasts: Mapping[str, Array], record: _Record, beats: np.ndarray, hours: float = HOURS
) -> ScoredBeats:
    """The scores of some beats of a record, from the forecasts of them; the first is never scored.

    The first beat has no interval before it.
    """
    scored = beats > 0
    location, scale, freedom = (
        np.asarray(forecasts[name])[scored] for name in ("location", "scale", "freedom")
    )
    beats = beats[scored]
    error = location - record.features[beats]
    scores = {"V": np.square(error[:, 1:]).mean(1), "S": error[:, 0] / scale[:, 0]}
    nats = -stats.t.logpdf(error, freedom, scale=scale).mean(1)
    return ScoredBeats(scores, record.classes[beats], hours, nats)


@functools.lru_cache(maxsize=2)
def _baselines(path: Path) -> dict[str, dict[str, float]]:
    """The scores of detectors of single beats, once per process."""
    train, _, test = _parts(path)
    normal = np.concatenate([x.features[x.classes == NORMAL] for x in train])
    found = anomaly_scores.detectors(normal, [x.features[1:] for x in test])
    records = {
        name: [ScoredBeats(s, x.classes[1:], HOURS) for s, x in zip(scores, test, strict=True)]
        for name, scores in found.items()
    }
    return {
        name: {
            metric: score(of, ()) for metric, (score, _) in anomaly_scores.RANKING_METRICS.items()
        }
        for name, of in records.items()
    }
