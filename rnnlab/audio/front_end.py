"""Log mel energies and cepstral coefficients (MFCC) of a signal."""

import functools
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from rnnlab.audio.framing import Framing, window
from rnnlab.audio.mel import cepstral_matrix, mel_filters
from rnnlab.audio.streams import Stream, Transform
from rnnlab.validation import require_one_of, require_positive_int

Features = Literal["mel", "mfcc"]

SCALE = 32768.0
"""What a sample of 1.0 is in the 16-bit samples that Kaldi computes with."""

ENERGY_FLOOR = float(np.finfo(np.float32).eps)
"""Smallest energy of a filter, in units of squared 16-bit samples."""


@dataclass(frozen=True)
class FrontEnd(Transform):
    """Features of overlapping frames of a signal, as Kaldi computes them, without dither.

    Of each frame the mean is removed; `x[n] - preemphasis x[n-1]` raises high frequencies; a window
    tapers it; the power spectrum, filtered by triangles in mel, gives the log mel energies; and
    their cosine transform the cepstral coefficients. All is float64, the result float32.

    Attributes:
      rate: samples per second.
      features: `"mel"`: log mel energies; `"mfcc"`: cepstral coefficients, the first of which is a
        loudness.
      num_mels: number of mel filters.
      num_coefficients: number of cepstral coefficients, at most `num_mels`.
      length_ms, shift_ms: length of a frame, and time between the starts of two, in milliseconds.
      window: `"povey"`, `"hann"`, `"hamming"` or `"rectangular"`.
      preemphasis: weight of the sample before; 0 omits it.
      low_hz: lowest frequency of the filters.
      high_hz: highest one; None is half of the rate.
      lifter: of the cepstral coefficients; 0 omits it.
      snip_edges: whether all frames are inside the signal, see `Framing`.

    Raises:
      ValueError: a setting is out of range.

    Source: the features of Kaldi (Povey et al., ASRU 2011); Davis and Mermelstein, IEEE Trans.
    ASSP 28 (1980), for MFCC.

    >>> front_end = FrontEnd(8000, "mfcc", num_mels=23)
    >>> tone = np.sin(2 * np.pi * 440 / 8000 * np.arange(8000))
    >>> stream = front_end.stream()
    >>> pieces = [stream.push(piece) for piece in np.array_split(tone, 7)]
    >>> bool((np.concatenate(pieces) == front_end(tone)).all()), front_end(tone).shape
    (True, (98, 13))
    """

    rate: int = 16000
    features: Features = "mel"
    num_mels: int = 40
    num_coefficients: int = 13
    length_ms: float = 25.0
    shift_ms: float = 10.0
    window: str = "povey"
    preemphasis: float = 0.97
    low_hz: float = 20.0
    high_hz: float | None = None
    lifter: float = 22.0
    snip_edges: bool = True

    def __post_init__(self):
        require_positive_int(rate=self.rate, num_mels=self.num_mels)
        require_positive_int(num_coefficients=self.num_coefficients)
        require_one_of("features", self.features, get_args(Features))
        if self.num_coefficients > self.num_mels:
            raise ValueError(
                f"num_coefficients must be <= num_mels, {self.num_mels}, got "
                f"{self.num_coefficients}; lower it"
            )
        if not 0 <= self.low_hz < self._high_hz <= self.rate / 2:
            raise ValueError(
                "low_hz and high_hz must be in 0 <= low_hz < high_hz <= rate / 2, got "
                f"{self.low_hz:g} and {self._high_hz:g} at rate {self.rate}; change them"
            )
        for name, least in (("length_ms", 2), ("shift_ms", 1)):
            if self._samples(getattr(self, name)) < least:
                raise ValueError(
                    f"{name} must be >= {least} samples, got {getattr(self, name):g} ms at rate "
                    f"{self.rate}; raise it"
                )
        window(self.window, self.framing.length)

    @property
    def framing(self) -> Framing:
        """The division of a signal into frames."""
        return Framing(self._samples(self.length_ms), self._samples(self.shift_ms), self.snip_edges)

    @property
    def out_features(self) -> int:
        """Number of features per frame."""
        return self.num_mels if self.features == "mel" else self.num_coefficients

    @property
    def _high_hz(self) -> float:
        return self.rate / 2 if self.high_hz is None else self.high_hz

    def _samples(self, ms: float) -> int:
        return int(self.rate * ms / 1000)

    def stream(self) -> Stream:
        """Returns the state at the start of a signal of float samples in [-1, 1], or of int16."""
        return _FeatureStream(self)

    def of_frames(self, frames: np.ndarray) -> np.ndarray:
        """Returns the features of frames of a signal, (frames, out_features) float64.

        Args:
          frames: (frames, samples) float64, in units of 16-bit samples.
        """
        taper, fft_length, filters, cepstrum = _constants(self)
        frames = frames - frames.mean(axis=1, keepdims=True)
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        frames = (frames - self.preemphasis * before) * taper
        power = np.square(np.abs(np.fft.rfft(frames, fft_length)))
        mel = np.log(np.maximum(_rowwise_product(power, filters), ENERGY_FLOOR))
        return mel if self.features == "mel" else _rowwise_product(mel, cepstrum)


class _FeatureStream:
    def __init__(self, front_end: FrontEnd):
        self._front_end, self._frames = front_end, front_end.framing.stream()

    def push(self, samples: np.ndarray) -> np.ndarray:
        samples = np.asarray(samples)
        if samples.ndim != 1 or (samples.dtype.kind != "f" and samples.dtype != np.int16):
            raise ValueError(
                "samples must be floats in [-1, 1] or int16 of shape (samples,), got "
                f"{samples.dtype} of shape {samples.shape}; convert them"
            )
        scale = 1.0 if samples.dtype == np.int16 else SCALE
        return self._features(self._frames.push(samples.astype(np.float64) * scale))

    def finish(self) -> np.ndarray:
        return self._features(self._frames.finish())

    def _features(self, frames: np.ndarray) -> np.ndarray:
        return self._front_end.of_frames(frames).astype(np.float32)


@functools.lru_cache(maxsize=8)
def _constants(front_end: FrontEnd) -> tuple[np.ndarray, int, np.ndarray, np.ndarray]:
    """The window, the length of the Fourier transform, the filters and the cosine transform."""
    length = front_end.framing.length
    fft_length = 1 << (length - 1).bit_length()
    filters = mel_filters(
        front_end.num_mels, fft_length, front_end.rate, front_end.low_hz, front_end._high_hz
    )
    cepstrum = cepstral_matrix(front_end.num_coefficients, front_end.num_mels, front_end.lifter)
    return window(front_end.window, length), fft_length, filters, cepstrum


def _rowwise_product(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Returns `rows @ matrix.T`, each row by the same operations however many there are.

    A BLAS product rounds a row differently when it is one of several.
    """
    return np.einsum("tk,mk->tm", rows, matrix, optimize=False)
