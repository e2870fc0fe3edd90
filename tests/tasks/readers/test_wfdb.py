"""WFDB records: what an encoder writes is read, and a corrupt file is an error of one line."""

import numpy as np
import pytest
from reader_files import assert_refused
from scipy.signal import resample_poly

from rnnlab.tasks.readers.ecg import read_ecg
from rnnlab.tasks.readers.wfdb import read_annotations, read_wfdb, unpack_212

HEADER = (
    "# written by hand\n100 2 360 {samples} 0:0:0\n"
    "100.dat 212 200 11 1024 995 -22131 0 V5\n100.dat 212 100(512)/mV 11 0 1011 20052 0 MLII\n"
    "# 69 M 1085 1629 x1\n"
)


def pack_212(values):
    """The bytes of samples, pair by pair."""
    raw = bytearray()
    for n in range(0, len(values), 2):
        one, two = (int(x) & 0xFFF for x in [*values[n : n + 2], 0][:2])
        raw += bytes([one & 0xFF, one >> 8 | (two >> 8) << 4, two & 0xFF])
    return bytes(raw[: (3 * len(values) + 1) // 2])


def words(*pairs):
    """Words of a code and a number of 10 bits, little-endian."""
    return b"".join((code << 10 | number).to_bytes(2, "little") for code, number in pairs)


ANNOTATIONS = (
    words((28, 18), (63, 2)) + b"(N" + words((1, 59), (59, 0))  # a text, then a long interval
    + (70000 >> 16).to_bytes(2, "little") + (70000 & 0xFFFF).to_bytes(2, "little")
    + words((5, 3), (61, 1), (62, 1), (60, 2), (8, 0), (63, 3)) + b"abc\0"
    + words((38, 1023), (0, 0))
)  # fmt: skip
SAMPLES, CODES = [18, 77, 70080, 70080, 71103], [28, 1, 5, 8, 38]


@pytest.fixture
def record(tmp_path):
    values = np.random.default_rng(0).integers(-2048, 2048, (363, 2))
    (tmp_path / "100.hea").write_text(HEADER.format(samples=len(values)))
    (tmp_path / "100.dat").write_bytes(pack_212(values.ravel()))
    (tmp_path / "100.atr").write_bytes(ANNOTATIONS)
    return tmp_path, values


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 64])
def test_unpack_212_returns_what_was_packed(tmp_path, count):
    values = np.random.default_rng(count).integers(-2048, 2048, count)
    assert unpack_212(tmp_path, pack_212(values), count).tolist() == values.tolist()


def test_wfdb_signals_are_in_millivolts(record):
    folder, values = record
    read = read_wfdb(folder / "100.hea")
    assert (read.rate, read.leads) == (360, ("V5", "MLII"))
    np.testing.assert_array_equal(read.signals[:, 0], (values[:, 0] - 1024) / 200)
    np.testing.assert_array_equal(read.signals[:, 1], (values[:, 1] - 512) / 100)


def test_annotations_have_times_in_samples_and_codes(record):
    samples, codes = read_annotations(record[0] / "100.atr")
    assert samples.tolist() == SAMPLES
    assert codes.tolist() == CODES


def test_original_record_is_reduced_to_120_hz(record):
    folder, values = record
    (read,) = read_ecg(folder)
    assert (read.name, read.lead) == ("100", "MLII")
    wanted = resample_poly((values[:, 1] - 512) / 100, 1, 3)
    np.testing.assert_allclose(read.signal, wanted, rtol=1e-6)
    assert read.signal.shape == (121,)
    assert read.samples.tolist() == SAMPLES
    assert read.beats()[1].tolist() == [0, 2, 1, 4]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("363", "many", "100.hea: is not a WFDB header with a number of samples: "),
        ("100 2", "100 3", "100.hea: is not a WFDB header .*: 3 signals, but 2 lines about them"),
        (" 20052 0 MLII", "", "100.hea: is not a WFDB header .* has less than nine fields"),
        ("dat 212", "dat 16", "100.hea: must name one file in format 212, got 1 in 16, 212; conv"),
        ("363", "362", "100.dat: must have 1086 bytes for 724 samples, got 1089; copy the file"),
        ("2 360", "2 250", "100.hea: must have 360 samples per second, got 250; give a record of"),
    ],
)
def test_original_record_that_is_not_of_the_format_is_refused(record, old, new, message):
    folder = record[0]
    header = HEADER.format(samples=363).replace(old, new, 1)
    (folder / "100.hea").write_text(header)
    assert_refused(read_ecg, folder, message)


def test_annotations_without_an_end_mark_are_refused(write_file):
    for size in (2, 8, 11, 20, len(ANNOTATIONS) - 2):
        path = write_file(ANNOTATIONS[:size])
        assert_refused(read_annotations, path, f"must end with an end mark, got {size} bytes")


def test_folder_without_records_is_refused(tmp_path):
    assert_refused(read_ecg, tmp_path, "has no record, such as 100.hea; give the folder")
