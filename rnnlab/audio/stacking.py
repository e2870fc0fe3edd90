"""Several adjacent frames as one time step."""

from dataclasses import dataclass

import numpy as np

from rnnlab.audio.streams import Stream, Transform
from rnnlab.validation import require_positive_int


@dataclass(frozen=True)
class FrameStacking(Transform):
    """Each `count` frames (time, features) as one of `count * features` values.

    The values of one feature in the frames are next to each other. An incomplete last group repeats
    the last frame.

    Attributes:
      count: frames per time step.

    >>> FrameStacking(2)(np.array([[1, 10], [2, 20], [3, 30]])).tolist()
    [[1, 2, 10, 20], [3, 3, 30, 30]]
    """

    count: int = 3

    def __post_init__(self):
        require_positive_int(count=self.count)

    def stream(self) -> Stream:
        """Returns the state at the start of an utterance."""
        return _StackStream(self.count)


class _StackStream:
    """The frames of a group that is not complete."""

    def __init__(self, count: int):
        self._count = count
        self._kept: np.ndarray | None = None

    def push(self, xs: np.ndarray) -> np.ndarray:
        kept = xs if self._kept is None else np.concatenate([self._kept, xs])
        groups = len(kept) // self._count
        self._kept = kept[groups * self._count :]
        return self._stacked(kept[: groups * self._count])

    def finish(self) -> np.ndarray:
        kept = self._kept
        if kept is None:
            raise ValueError("xs must have a time step, got none; push one before the end")
        missing = -len(kept) % self._count
        return self._stacked(np.concatenate([kept, np.repeat(kept[-1:], missing, axis=0)]))

    def _stacked(self, frames: np.ndarray) -> np.ndarray:
        features = frames.shape[-1]
        groups = frames.reshape(-1, self._count, features)
        return groups.transpose(0, 2, 1).reshape(len(groups), features * self._count)
