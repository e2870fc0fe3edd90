"""Reader of WAV files (RIFF): PCM of 8 to 32 bits and floats, one or more channels."""

import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.text import read_bytes

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
"""Codes of encodings. The last one has the code of another one at the end of its description."""

_UNKNOWN_SIZE = 0xFFFFFFFF
"""The size that programs write which do not know it, as into a pipe."""

_ENCODINGS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "ADPCM", 85: "MP3"}
"""Names of encodings that are not read, for messages."""


class Wav(NamedTuple):
    """A recording.

    Attributes:
      samples: (samples, channels) float32; full scale is [-1, 1].
      rate: samples per second of each channel.
    """

    samples: np.ndarray
    rate: int

    def mono(self) -> np.ndarray:
        """Returns the mean over the channels, (samples,) float32."""
        return self.samples.mean(axis=1)


def read_wav(path: str | os.PathLike) -> Wav:
    """Reads a WAV file. Chunks other than those of the format and the samples are skipped.

    Args:
      path: the file: integers of 8, 16, 24 or 32 bits, or floats of 32 or 64 bits. Python's module
        `wave` reads no floats.

    Raises:
      DataError: the file is not of the format, is incomplete, has no samples, another encoding, or
        a sample that is not finite.

    >>> import tempfile, wave
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.wav")
    ...     with wave.open(str(file), "wb") as opened:
    ...         opened.setparams((1, 2, 8000, 0, "NONE", ""))
    ...         opened.writeframes(np.array([0, 16384, -32768], np.int16).tobytes())
    ...     read_wav(file).mono().tolist()
    [0.0, 0.5, -1.0]
    """
    path = Path(path)
    raw = read_bytes(path)
    if raw[:4] != b"RIFF" or raw[8:12] != b"WAVE":
        found = "RIFX, with the most significant byte first" if raw[:4] == b"RIFX" else "others"
        reason = f"must start with RIFF and WAVE as a WAV file, got {found}"
        raise data_error(path, f"{reason}; convert it to WAV, as ffmpeg does")
    chunks = _chunks(path, raw)
    if len(chunks.get(b"fmt ", b"")) < 16:
        raise data_error(path, "has no complete description of its samples; write the file again")
    if b"data" not in chunks:
        raise data_error(path, "has no samples; write the file again")
    return _samples(path, chunks[b"fmt "], chunks[b"data"])


def _chunks(path: Path, raw: bytes) -> dict[bytes, bytes]:
    """The content of each chunk by its name; the first of each name."""
    found: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(raw):
        name, size = raw[at : at + 4], struct.unpack_from("<I", raw, at + 4)[0]
        at += 8
        if name == b"data" and size == _UNKNOWN_SIZE:
            size = len(raw) - at
        if at + size > len(raw):
            reason = f"must have {size} bytes in its chunk {name.decode('latin-1')!r}, got"
            raise data_error(path, f"{reason} {len(raw) - at}: it is incomplete; copy it again")
        found.setdefault(name, raw[at : at + size])
        at += size + size % 2  # chunks start at even bytes
    return found


def _samples(path: Path, described: bytes, data: bytes) -> Wav:
    encoding, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", described)
    if encoding == EXTENSIBLE and len(described) >= 26:
        encoding = struct.unpack_from("<H", described, 24)[0]
    if (encoding, bits) not in _READERS:
        name = {PCM: "PCM", FLOAT: "floats"}.get(encoding, _ENCODINGS.get(encoding, "encoding"))
        number = "" if encoding in (PCM, FLOAT, *_ENCODINGS) else f" {encoding}"
        reason = "must be PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64 bits, got"
        raise data_error(path, f"{reason} {name}{number} of {bits} bits; convert it")
    if channels < 1 or rate < 1 or block != channels * bits // 8:
        reason = (
            f"must have a channel, a rate and {channels * bits // 8} bytes per sample of all "
            f"channels, got {channels}, {rate} and {block}"
        )
        raise data_error(path, f"{reason}; write the file again")
    if not data or len(data) % block:
        reason = f"must have samples of {block} bytes, got {len(data)} bytes"
        raise data_error(path, f"{reason}; record it again")
    samples = _READERS[encoding, bits](data).astype(np.float32)
    if not np.isfinite(samples).all():
        at = int(np.isfinite(samples).argmin()) // channels
        raise data_error(path, f"sample {at} must be finite, got NaN or infinity; convert it")
    return Wav(samples.reshape(-1, channels), rate)


def _of_8_bits(data: bytes) -> np.ndarray:
    return (np.frombuffer(data, np.uint8).astype(np.float64) - 128) / 128  # unsigned, others not


def _of_24_bits(data: bytes) -> np.ndarray:
    low, middle, high = np.frombuffer(data, np.uint8).reshape(-1, 3).T.astype(np.int32)
    return (low | middle << 8 | high.astype(np.int8).astype(np.int32) << 16) / 2.0**23


_READERS = {
    (PCM, 8): _of_8_bits,
    (PCM, 16): lambda data: np.frombuffer(data, "<i2") / 2.0**15,
    (PCM, 24): _of_24_bits,
    (PCM, 32): lambda data: np.frombuffer(data, "<i4") / 2.0**31,
    (FLOAT, 32): lambda data: np.frombuffer(data, "<f4"),
    (FLOAT, 64): lambda data: np.frombuffer(data, "<f8"),
}
"""How bytes become numbers, by encoding and bits."""
