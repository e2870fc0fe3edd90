"""Small files of speech: a data set of the format of AN4, and WAV files with their texts."""

import struct
import wave

import numpy as np

WORDS = ("NO", "GO", "ON")


def an4_utterances(count, first=0, seed=0):
    """The arrays of a part of AN4: sequences that depend on their characters."""
    rng = np.random.default_rng([seed, first])
    texts = [" ".join(rng.choice(WORDS, 1 + k % 3)) for k in range(count)]
    frames = []
    for text in texts:
        codes = np.array([ord(x) % 7 for x in text])
        frames.append(np.repeat(codes, 6)[:, None] + rng.normal(size=(6 * len(text), 13)))
    return {
        "features": np.concatenate(frames).astype(np.float16),
        "lengths": np.array([len(x) for x in frames], np.int32),
        "ids": np.array([f"an{first + k}" for k in range(count)]),
        "speakers": np.array([f"s{first + k // 2:03d}" for k in range(count)]),
        "texts": np.array(texts),
    }


def write_wav(path, samples, rate=8000):
    """Writes samples in [-1, 1] as 16-bit PCM."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(np.round(np.asarray(samples) * 32767).astype("<i2").tobytes())


def riff(described, data, *, more=b"", data_size=None):
    """The bytes of a WAV file."""
    size = len(data) if data_size is None else data_size
    body = b"WAVEfmt " + struct.pack("<I", len(described)) + described + more
    body += b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def description(encoding=1, channels=1, rate=8000, bits=16, block=None):
    """The content of the chunk `fmt `."""
    block = channels * bits // 8 if block is None else block
    return struct.pack("<HHIIHH", encoding, channels, rate, rate * block, block, bits)
