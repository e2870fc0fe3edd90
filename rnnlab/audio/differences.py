"""Differences of features over time, next to the features."""

from dataclasses import dataclass

import numpy as np

from rnnlab.audio.streams import Stream, Transform
from rnnlab.validation import require_positive_int


@dataclass(frozen=True)
class Differences(Transform):
    """Frames with the slope of each feature next to it, by a regression over neighboring frames.

        d[t] = sum_k k (x[t+k] - x[t-k]) / (2 sum_k k²),  k = 1 ... window

    The first and the last frame repeat beyond the ends. A frame is complete `window` frames later.

    Attributes:
      window: frames on each side.

    Source: Furui, IEEE Trans. ASSP 34 (1986); the regression of HTK and Kaldi.

    >>> Differences(window=1)(np.array([[0.0], [1.0], [4.0]])).tolist()
    [[0.0, 0.5], [1.0, 2.0], [4.0, 1.5]]
    """

    window: int = 2

    def __post_init__(self):
        require_positive_int(window=self.window)

    def stream(self) -> Stream:
        """Returns the state at the start of an utterance. Outputs are (time, 2 features), each
        feature followed by its slope."""
        return _DifferenceStream(self.window)


class _DifferenceStream:
    """Up to `2 window` frames: those around the next frame to complete."""

    def __init__(self, window: int):
        self._window = window
        self._kept: np.ndarray | None = None

    def push(self, xs: np.ndarray) -> np.ndarray:
        if self._kept is None:
            if not len(xs):
                return np.zeros((0, 2 * xs.shape[1]))
            self._kept = np.repeat(xs[:1], self._window, axis=0)
        return self._complete(np.concatenate([self._kept, xs]))

    def finish(self) -> np.ndarray:
        if self._kept is None:
            raise ValueError("xs must have a time step, got none; push one before the end")
        last = np.repeat(self._kept[-1:], self._window, axis=0)
        return self._complete(np.concatenate([self._kept, last]))

    def _complete(self, kept: np.ndarray) -> np.ndarray:
        window = self._window
        count = max(0, len(kept) - 2 * window)
        frames = kept[window : window + count]
        slope = np.zeros(frames.shape)
        for k in range(1, window + 1):
            later, earlier = kept[window + k :][:count], kept[window - k :][:count]
            slope += k * (later - earlier)
        slope /= 2 * sum(k * k for k in range(1, window + 1))
        self._kept = kept[count:]
        return np.stack([frames, slope], axis=-1).reshape(count, 2 * frames.shape[1])
