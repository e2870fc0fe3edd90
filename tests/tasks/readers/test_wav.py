"""WAV files of all encodings against scipy's reader, and one line about each invalid one."""

import io
import struct

import numpy as np
import pytest
from reader_files import assert_refused
from reader_files import write_file as write_file
from scipy.io import wavfile
from speech_files import description, riff

from rnnlab.tasks.readers.wav import read_wav

VALUES = np.array([[-1.0, 0.5], [0.25, -0.125], [0.0, 0.75]])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_samples_of_every_encoding_equal_those_of_scipy(write_file, dtype, channels):
    values = VALUES[:, :channels]
    if dtype == "uint8":
        stored = (values * 128 + 128).astype(np.uint8)
    elif dtype.startswith("int"):
        stored = (values * -float(np.iinfo(dtype).min)).astype(dtype)
    else:
        stored = values.astype(dtype)
    file = io.BytesIO()
    wavfile.write(file, 11025, stored)
    read = read_wav(write_file(file.getvalue(), "a.wav"))
    assert read.rate == 11025
    assert read.samples.dtype == np.float32
    np.testing.assert_array_equal(read.samples, values.astype(np.float32))
    np.testing.assert_allclose(read.mono(), values.mean(1))


def test_samples_of_24_bits_and_other_chunks_are_read(write_file):
    numbers = np.array([-(2**23), 2**22, -1, 2**23 - 1])
    data = b"".join(int(n).to_bytes(3, "little", signed=True) for n in numbers)
    listed = b"LIST" + struct.pack("<I", 3) + b"abc\0"  # an odd size is padded
    extended = description(0xFFFE, bits=24) + struct.pack("<HHIH", 22, 24, 4, 1) + bytes(14)
    for described in (description(bits=24), extended):
        for size in (None, 0xFFFFFFFF):
            content = riff(described, data, more=listed, data_size=size)
            read = read_wav(write_file(content, "a.wav"))
            np.testing.assert_array_equal(read.mono(), (numbers / 2**23).astype(np.float32))


PCM = description()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ID3\x03 music", "must start with RIFF and WAVE"),
        (b"RIFX" + riff(PCM, bytes(4))[4:], "RIFX"),
        (riff(PCM, bytes(4))[:30], "incomplete|no complete"),
        (riff(PCM, bytes(4))[:-2], "must have 4 bytes in its chunk 'data', got 2"),
        (riff(PCM, b""), "must have samples of 2 bytes, got 0"),
        (riff(PCM, bytes(3)), "must have samples of 2 bytes, got 3"),
        (riff(PCM, b"")[:36], "has no samples"),
        (riff(description(7, bits=8), bytes(4)), "got mu-law of 8 bits"),
        (riff(description(bits=12), bytes(4)), "got PCM of 12 bits"),
        (riff(description(99), bytes(4)), "got encoding 99 of 16 bits"),
        (riff(description(channels=0), bytes(4)), "must have a channel"),
        (riff(description(rate=0), bytes(4)), "got 1, 0 and 2"),
        (riff(description(block=3), bytes(6)), "got 1, 8000 and 3"),
        (riff(description(3, bits=32), struct.pack("<2f", 0, np.nan)), "sample 1 must be finite"),
    ],
)
def test_file_that_is_not_valid_is_refused_in_one_line(write_file, content, message):
    assert_refused(read_wav, write_file(content, "a.wav"), message)


def test_every_shortened_file_is_read_or_refused(write_file):
    whole = riff(description(channels=2), bytes(range(16)), more=b"LIST\2\0\0\0ab")
    from rnnlab.errors import DataError

    for length in range(1, len(whole)):
        with pytest.raises(DataError):
            read_wav(write_file(whole[:length], "a.wav"))
