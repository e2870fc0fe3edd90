"""Transforms of sequences that arrive in pieces."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Stream(Protocol):
    """The state of a transform of one sequence."""

    def push(self, xs: np.ndarray) -> np.ndarray:
        """Returns the outputs (outputs, ...) that the next inputs (time, ...) complete; maybe
        none."""

    def finish(self) -> np.ndarray:
        """Returns the remaining outputs (outputs, ...), of a sequence that ends here."""


class Transform(ABC):
    """A transform of sequences. A call is a stream that gets the whole sequence in one piece."""

    @abstractmethod
    def stream(self) -> Stream:
        """Returns the state at the start of a sequence."""

    def __call__(self, xs: np.ndarray) -> np.ndarray:
        """Returns the outputs of a whole sequence.

        Args:
          xs: (time, ...).
        """
        stream = self.stream()
        return np.concatenate([stream.push(xs), stream.finish()])


@dataclass(frozen=True)
class Chain(Transform):
    """Several transforms, one after the other.

    Attributes:
      transforms: in order.

    >>> from rnnlab.audio import Differences, FrameStacking
    >>> Chain((Differences(), FrameStacking(2)))(np.zeros((5, 3))).shape
    (3, 12)
    """

    transforms: tuple[Transform, ...]

    def stream(self) -> Stream:
        """Returns the state at the start of a sequence."""
        return _ChainStream([transform.stream() for transform in self.transforms])


class _ChainStream:
    def __init__(self, streams: list[Stream]):
        self._streams = streams

    def push(self, xs: np.ndarray) -> np.ndarray:
        for stream in self._streams:
            xs = stream.push(xs)
        return xs

    def finish(self) -> np.ndarray:
        left = None
        for stream in self._streams:
            parts = [] if left is None else [stream.push(left)]
            left = np.concatenate([*parts, stream.finish()])
        return left
