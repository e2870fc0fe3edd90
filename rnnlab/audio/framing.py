"""Overlapping frames of a signal, cut as it arrives, and the windows that taper them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rnnlab.audio.streams import Stream, Transform
from rnnlab.validation import require_one_of, require_positive_int

_WINDOWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "povey": lambda phase: (0.5 - 0.5 * np.cos(phase)) ** 0.85,
    "hann": lambda phase: 0.5 - 0.5 * np.cos(phase),
    "hamming": lambda phase: 0.54 - 0.46 * np.cos(phase),
    "rectangular": np.ones_like,
}

WINDOWS = tuple(_WINDOWS)
"""Names of windows. `"povey"` is Kaldi's: a Hann window to the power 0.85."""


def window(name: str, length: int) -> np.ndarray:
    """Returns a symmetric window, (length,) float64.

    Args:
      name: one of `WINDOWS`.
      length: samples, at least 2.

    Raises:
      ValueError: the name is unknown.

    >>> window("hann", 5).round(6).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    require_one_of("window", name, WINDOWS)
    return _WINDOWS[name](2 * np.pi * np.arange(length) / (length - 1))


@dataclass(frozen=True)
class Framing(Transform):
    """Overlapping frames of a signal (samples,), as (frames, length).

    Attributes:
      length: samples of a frame.
      shift: samples between the starts of two frames.
      snip_edges: True: a frame is inside the signal, which loses up to `length - 1` samples at its
        end. False: frame n is around sample `(n + 1/2) shift`, and the signal is mirrored at its
        ends, as in Kaldi.

    Raises:
      ValueError: a length is less than 1, or frames that are mirrored are shorter than the shift.

    >>> Framing(length=4, shift=2)(np.arange(7.0)).tolist()
    [[0.0, 1.0, 2.0, 3.0], [2.0, 3.0, 4.0, 5.0]]
    >>> Framing(length=4, shift=2, snip_edges=False)(np.arange(5.0)).tolist()
    [[0.0, 0.0, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 4.0, 3.0]]
    """

    length: int
    shift: int
    snip_edges: bool = True

    def __post_init__(self):
        require_positive_int(length=self.length, shift=self.shift)
        if not self.snip_edges and self.length < self.shift:
            raise ValueError(
                f"length must be >= shift, {self.shift}, without snip_edges, got {self.length}; "
                "raise it"
            )

    @property
    def mirrored(self) -> int:
        """Samples before the start of the signal that the first frame has."""
        return 0 if self.snip_edges else self.length // 2 - self.shift // 2

    def count(self, samples: int) -> int:
        """Returns the number of frames of a signal of so many samples.

        >>> Framing(4, 2).count(3), Framing(4, 2, snip_edges=False).count(3)
        (0, 2)
        """
        if self.snip_edges:
            return max(0, 1 + (samples - self.length) // self.shift)
        return (samples + self.shift // 2) // self.shift

    def stream(self) -> Stream:
        """Returns the state at the start of a signal."""
        return _FrameStream(self)


class _FrameStream:
    """The samples that later frames need. Positions count from the start of the first frame."""

    def __init__(self, framing: Framing):
        self._framing = framing
        self._kept: np.ndarray | None = None
        self._start = 0
        """Position of the first sample that is kept."""
        self._samples = self._made = 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        framing = self._framing
        kept = samples if self._kept is None else np.concatenate([self._kept, samples])
        self._samples += len(samples)
        before = framing.mirrored
        if self._samples < max(before, 1):
            self._kept = kept
            return np.zeros((0, framing.length), kept.dtype)
        if self._samples - len(samples) < max(before, 1):
            kept = np.pad(kept, (before, 0), mode="symmetric")
        available = self._samples + before
        return self._cut(kept, max(0, 1 + (available - framing.length) // framing.shift))

    def finish(self) -> np.ndarray:
        framing, kept = self._framing, self._kept
        if kept is None or not self._samples or framing.snip_edges:
            return np.zeros((0, framing.length), np.float64 if kept is None else kept.dtype)
        before, total = framing.mirrored, framing.count(self._samples)
        if self._samples < before:
            kept = np.pad(kept, (before, 0), mode="symmetric")
        end = (total - 1) * framing.shift + framing.length
        missing = max(0, end - self._start - len(kept))
        return self._cut(np.pad(kept, (0, missing), mode="symmetric"), total)

    def _cut(self, kept: np.ndarray, total: int) -> np.ndarray:
        """Returns the frames up to number `total`, and keeps the samples after their starts."""
        framing, new = self._framing, max(0, total - self._made)
        first = self._made * framing.shift - self._start
        starts = first + framing.shift * np.arange(new)
        frames = kept[starts[:, None] + np.arange(framing.length)[None]]
        self._made += new
        # A whole frame before the next one stays: the end of the signal may be mirrored.
        drop = max(0, self._made * framing.shift - framing.length - self._start)
        drop = min(drop, len(kept))
        self._kept, self._start = kept[drop:], self._start + drop
        return frames
