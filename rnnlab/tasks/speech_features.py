"""The inputs of a speech recognizer from frames, as a whole or as they arrive."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rnnlab.audio import (
    Chain,
    Differences,
    FrameStacking,
    RunningMeanNormalization,
    Stream,
    Transform,
    subtract_mean,
)

Mean = Literal["running", "utterance"]

PRIOR_FRAMES = 100.0
"""Frames that the mean of the training part counts in a running mean: a second."""


@dataclass(frozen=True, eq=False)
class SpeechFeatures:
    """Frames without their mean, with their slopes, standardized and stacked.

    Attributes:
      mean: which mean is removed: `"running"`, of the frames so far, or `"utterance"`, of the whole
        utterance, which cannot be streamed.
      stack: frames per time step.
      prior: (features,) mean of the training part, with which a running mean starts.
      scale: (2 features,) factors of the frames and their slopes, in the order of `Differences`.

    >>> frames = [np.random.default_rng(k).normal(size=(30, 13)) for k in range(3)]
    >>> features = SpeechFeatures.fit(frames, "running", stack=3)
    >>> features(frames[0]).shape, features.out_features
    ((10, 78), 78)
    """

    mean: Mean
    stack: int
    prior: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, frames: Sequence[np.ndarray], mean: Mean, stack: int) -> "SpeechFeatures":
        """Returns the features whose mean and scale are those of the training part.

        Args:
          frames: (time, features) of each utterance.
          mean: see `SpeechFeatures`.
          stack: frames per time step.
        """
        prior = np.concatenate(frames).mean(axis=0, dtype=np.float64)
        raw = cls(mean, stack, prior, np.ones(2 * len(prior)))
        values = np.concatenate([Differences()(raw._centered(x)) for x in frames])
        deviation = np.sqrt(np.square(values).mean(axis=0))
        return cls(mean, stack, prior, 1 / np.where(deviation > 0, deviation, np.inf))

    @property
    def out_features(self) -> int:
        """Number of values per time step."""
        return self.stack * len(self.scale)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Returns the inputs for frames (time, features): (steps, out_features) float32."""
        return self._after_mean(self._centered(frames)).astype(np.float32)

    def stream(self) -> Stream:
        """Returns the state at the start of an utterance, whose outputs are float64.

        Raises:
          ValueError: the mean is that of the whole utterance.
        """
        if self.mean != "running":
            raise ValueError(
                f"mean must be 'running' in a stream, got {self.mean!r}; train with "
                "--data.mean running"
            )
        return Chain((self._running_mean, self._after_mean)).stream()

    @property
    def _running_mean(self) -> RunningMeanNormalization:
        return RunningMeanNormalization(tuple(self.prior.tolist()), PRIOR_FRAMES)

    @property
    def _after_mean(self) -> Transform:
        return Chain((Differences(), _Scaling(self.scale), FrameStacking(self.stack)))

    def _centered(self, frames: np.ndarray) -> np.ndarray:
        return self._running_mean(frames) if self.mean == "running" else subtract_mean(frames)


class _Scaling(Transform):
    """Frames times a factor per feature. It has no state: it is its own stream."""

    def __init__(self, scale: np.ndarray):
        self._scale = scale

    def stream(self) -> "_Scaling":
        return self

    def push(self, xs: np.ndarray) -> np.ndarray:
        return xs * self._scale

    def finish(self) -> np.ndarray:
        return np.zeros((0, len(self._scale)))
