"""Inputs of a model from irregular records: values, flags and gaps, as the training part scales."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from rnnlab.tasks.batching.padding import pad
from rnnlab.tasks.record_steps import RecordSteps

TAILS = (0.005, 0.995)
"""Quantiles of the training values to which values are clipped: tables contain typing errors."""


@dataclass(frozen=True)
class Scale:
    """Limits, means and deviations by which values are clipped, then standardized. NaN stays.

    Attributes:
      low, high: (features,) limits.
      mean: (features,).
      deviation: (features,), infinite where a feature does not vary: it becomes 0.
    """

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Scale":
        """Returns the scale of training values (rows, features), NaN where missing."""
        columns = [column[~np.isnan(column)].astype(np.float64) for column in values.T]
        columns = [column if len(column) else np.zeros(1) for column in columns]
        low, high = np.array([np.quantile(column, TAILS) for column in columns]).reshape(-1, 2).T
        clipped = [np.clip(*of) for of in zip(columns, low, high, strict=True)]
        deviation = np.array([column.std() for column in clipped])
        return cls(
            low,
            high,
            np.array([column.mean() for column in clipped]),
            np.where(high > low, deviation, np.inf),
        )

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Returns scaled values, float32."""
        return ((np.clip(values, self.low, self.high) - self.mean) / self.deviation).astype(
            np.float32
        )


@dataclass(frozen=True)
class RecordFeatures:
    """The inputs of a model from irregular records, with the scales of the training part.

    The inputs of a time step are, in this order, for V variables:

        V  last known value, standardized; 0, the mean, before the first measurement
        V  1 where the variable is measured at this time step, else 0
        V  log(1 + time since its last measurement, or since the first time step before it)
        1  log(1 + time since the time step before)
        1  time, standardized
           each number that describes the record, standardized, and 1 where it is known, else 0
           each category that describes the record: 1 in the place of its value

    Attributes:
      values: scale of the variables.
      time: scale of the time.
      numbers: scale of the descriptors that are numbers, (descriptors - categories,).
      categories: by the position of a descriptor that is a category, the codes that the training
        part has.
    """

    values: Scale
    time: Scale
    numbers: Scale
    categories: Mapping[int, np.ndarray]

    @classmethod
    def of(
        cls, steps: RecordSteps, descriptors: np.ndarray, categories: Collection[int]
    ) -> "RecordFeatures":
        """Returns the features that a training part fixes.

        Args:
          steps: of the records of the training part.
          descriptors: (records, descriptors) float64, NaN where unknown.
          categories: positions of the descriptors that are codes of categories.
        """
        codes = {k: np.unique(descriptors[:, k]) for k in categories}
        return cls(
            Scale.of(steps.values),
            Scale.of(steps.times[:, None]),
            Scale.of(np.delete(descriptors, list(codes), axis=1)),
            {k: found[~np.isnan(found)] for k, found in codes.items()},
        )

    @property
    def in_features(self) -> int:
        """The number of inputs per time step."""
        constants = 2 * len(self.numbers.mean) + sum(map(len, self.categories.values()))
        return 3 * len(self.values.mean) + 2 + constants

    def constants(self, descriptors: np.ndarray) -> np.ndarray:
        """Returns the inputs that describe records: (records, constants) float32."""
        numbers = np.delete(descriptors, list(self.categories), axis=1)
        parts = [np.nan_to_num(self.numbers.apply(numbers)), ~np.isnan(numbers)]
        parts += [descriptors[:, k, None] == codes for k, codes in self.categories.items()]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def encode(
        self, steps: RecordSteps, constants: np.ndarray, records: np.ndarray, max_steps: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns inputs, the mask and the gaps of records, padded to the longest of them.

        Args:
          steps: of all records.
          constants: of all records, as `constants` returns them.
          records: (batch,) numbers of the records to encode.
          max_steps: the last time steps of a longer record are kept; what was measured before them
            stays known.

        Returns:
          inputs (batch, time, in_features) float32, mask (batch, time) bool and gaps (batch, time)
          float32, the time since the time step before.
        """
        rows, lengths = steps.rows(records), steps.lengths[records]
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        times, values = steps.times[rows], steps.values[rows]
        observed = ~np.isnan(values)
        position = np.arange(len(rows))
        last = np.where(observed, position[:, None], -1)
        # A time step before the start is of another record: the variable is not known yet.
        last = np.maximum.accumulate(last, axis=0)
        is_known = last >= starts[:, None]
        last = np.where(is_known, last, starts[:, None])
        known = np.take_along_axis(values, last, axis=0)
        since = times[:, None] - times[last]
        gaps = np.where(position > starts, np.diff(times, prepend=0), 0)
        inputs = np.concatenate(
            [
                np.where(is_known, self.values.apply(known), 0),
                observed,
                np.log1p(since),
                np.log1p(gaps)[:, None],
                self.time.apply(times[:, None]),
                np.repeat(constants[records], lengths, axis=0),
            ],
            axis=1,
            dtype=np.float32,
        )
        kept = position >= starts + np.repeat(lengths - max_steps, lengths)
        bounds = np.cumsum(np.minimum(lengths, max_steps))[:-1]
        padded, mask = pad(np.split(inputs[kept], bounds))
        gaps, _ = pad(np.split(gaps[kept].astype(np.float32), bounds))
        gaps[:, 0] = 0
        return padded, mask, gaps
