"""Removal of the mean of features: of the whole utterance, or of what was received so far."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnlab.audio.streams import Stream, Transform


def subtract_mean(frames: np.ndarray) -> np.ndarray:
    """Returns frames (time, features) minus their mean over time, which reads the whole utterance.

    >>> subtract_mean(np.array([[1.0], [3.0]])).tolist()
    [[-1.0], [1.0]]
    """
    return frames - frames.mean(axis=0, keepdims=True, dtype=np.float64)


@dataclass(frozen=True)
class RunningMeanNormalization(Transform):
    """Frames minus a running mean, which starts at the mean of other data and reads no later frame.

        y[t] = x[t] - (weight prior + x[0] + ... + x[t]) / (weight + t + 1)

    The mean of a channel and a speaker is removed as by `subtract_mean`, in a stream.

    Attributes:
      prior: (features,) mean of the training data.
      weight: how many frames the prior counts.

    Raises:
      ValueError: the weight is negative.

    >>> RunningMeanNormalization((0.0,), weight=1)(np.array([[2.0], [2.0]])).tolist()
    [[1.0], [0.6666666666666667]]
    """

    prior: Sequence[float]
    weight: float = 100.0

    def __post_init__(self):
        if not self.weight >= 0:
            raise ValueError(f"weight must be >= 0, got {self.weight}; use 100")

    def stream(self) -> Stream:
        """Returns the state at the start of an utterance."""
        return _MeanStream(np.asarray(self.prior, np.float64) * self.weight, self.weight)


class _MeanStream:
    """The sum of the frames so far, and their number."""

    def __init__(self, total: np.ndarray, count: float):
        self._total, self._count = total, count

    def push(self, xs: np.ndarray) -> np.ndarray:
        # A cumulative sum adds one frame after the other, so that pieces give the same bits.
        totals = np.cumsum(np.concatenate([self._total[None], xs]), axis=0)
        counts = self._count + np.arange(1, len(xs) + 1)
        self._total, self._count = totals[-1], self._count + len(xs)
        return xs - totals[1:] / counts[:, None]

    def finish(self) -> np.ndarray:
        return np.zeros((0, len(self._total)))
