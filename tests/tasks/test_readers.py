"""Readers: what they return, and one-line errors with a location."""

import io
import math
import zipfile

import numpy as np
import pytest

from rnnlab.errors import DataError
from rnnlab.tasks.readers import npz
from rnnlab.tasks.readers import text as text_module
from rnnlab.tasks.readers.csv_series import read_series
from rnnlab.tasks.readers.npz import read_npz
from rnnlab.tasks.readers.text import read_text
from rnnlab.tasks.readers.ts import read_ts


@pytest.fixture
def file(tmp_path):
    def file(content, name="data"):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content, encoding="utf-8")
        return path

    return file


def refused(read, path, message, *arguments, **options):
    with pytest.raises(DataError, match=message) as raised:
        read(path, *arguments, **options)
    assert str(raised.value).startswith(str(path))
    assert len(str(raised.value).splitlines()) == 1


# Text


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("añb\n".encode(), "añb\n"),
        (b"\xef\xbb\xbfab", "ab"),
        (b"a\r\nb\rc\n", "a\nb\nc\n"),
        ("a\u2028b\x0cc".encode(), "a\u2028b\x0cc"),
    ],
)
def test_read_text_normalizes_line_ends_and_byte_order_mark(file, raw, wanted):
    assert read_text(file(raw)) == wanted


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"one\ntwo\xe9 three", r"line 2: not UTF-8 at byte 7 \(0xe9\)"),
        (b"ab\n\nc\0d", "line 3: must be text, got NUL at byte 5"),
        (b"", "is empty"),
        (b" \n\n", "has no text"),
        (b"\xef\xbb\xbf", "has no text"),
        (b"\x1f\x8b\x08", "looks like gzip"),
        (b"PK\x03\x04aa", "looks like zip"),
        ("hello".encode("utf-16"), "looks like UTF-16"),
    ],
)
def test_read_text_of_other_bytes_raises(file, raw, message):
    refused(read_text, file(raw), message)


def test_read_text_of_unreadable_file_raises(tmp_path, file, monkeypatch):
    refused(read_text, tmp_path / "none", "cannot be read: No such file")
    refused(read_text, tmp_path, "is a directory")
    monkeypatch.setattr(text_module, "MAX_FILE_BYTES", 3)
    refused(read_text, file("four"), "must have <= 3 bytes, got 4")


# CSV


def series(file, text, *arguments, **options):
    return read_series(file(text, "a.csv"), *arguments, **options)


def test_read_series_reads_named_column_with_gaps(file):
    text = '\na,"b, c"\n1,2.5\n,NA\n-1e3,\n+.5,nan\n\n7,"8"\n,\n\n'
    read = series(file, text, "b, c")
    np.testing.assert_array_equal(read.values, [2.5, math.nan, math.nan, math.nan, 8])
    assert (read.column, read.dates, read.days) == ("b, c", None, None)
    np.testing.assert_array_equal(series(file, text, "a").values, [1, math.nan, -1000, 0.5, 7])


def test_read_series_without_column_takes_the_only_one(file):
    for name in ("Date", "ds", "when"):
        read = series(file, f"{name},x\n2020-01-01,1\n2020-01-02,2\n")
        assert read.column == "x"
        assert read.days == 1
    assert series(file, "x\n1\n2\n").values.tolist() == [1, 2]
    assert series(file, "x;d\n1;2020-01-01\n2;2020-01-02\n", delimiter=";").column == "x"


@pytest.mark.parametrize(
    ("dates", "places", "days"),
    [
        (["2020-01-01", "2020-01-03", "2020-01-04"], [0, 2, 3], 1),
        (["2020/01/01", "2020/01/08", "2020/01/22"], [0, 1, 3], 7),
        (["19580329", "19580405", "19580419"], [0, 1, 3], 7),
        (["2020-01-01 00:00:00", "2020-01-01 01:00:00", "2020-01-01T04:00"], [0, 1, 4], 1 / 24),
        (["2020-01", "2020-02", "2020-05"], [0, 1, 4], 121 / 4),
        (["2020-01-31", "2020-02-29", "2020-03-31", "2020-06-30"], [0, 1, 2, 5], 151 / 5),
        (["2020-01-15", "2020-02-15", "2020-04-15"], [0, 1, 3], 91 / 3),
        (["2019-03-31", "2019-06-30", "2019-12-31"], [0, 1, 3], 275 / 3),
        (["1990", "1991", "1994"], [0, 1, 4], 1461 / 4),
        (["2020-03-29T00:00+00:00", "2020-03-29T03:00+02:00"], [0, 1], 1 / 24),
    ],
)
def test_read_series_with_missing_dates_has_gaps(file, dates, places, days):
    rows = "\n".join(f"{date},{k}" for k, date in enumerate(dates))
    read = series(file, f"date,x\n{rows}\n")
    assert len(read.dates) == len(read.values) == places[-1] + 1
    assert np.flatnonzero(~np.isnan(read.values)).tolist() == places
    assert read.values[places].tolist() == list(range(len(dates)))
    assert read.days == pytest.approx(days)
    assert (np.diff(read.dates) > np.timedelta64(0)).all()


def test_read_series_of_month_ends_keeps_month_ends(file):
    read = series(file, "date,x\n2020-01-31,1\n2020-02-29,1\n2020-04-30,1\n")
    assert read.dates.astype("datetime64[D]").astype(str).tolist() == [
        "2020-01-31",
        "2020-02-29",
        "2020-03-31",
        "2020-04-30",
    ]


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("a,b\n1,2\n1\n", ("a",), "line 3: must have 2 cells, as the header, got 1"),
        ("a,b\n1,2,3\n", ("a",), "line 2: must have 2 cells, as the header, got 3"),
        ('a\n1\n"2\n3\n', ("a",), "line 3: cannot be split into cells"),
        ('a\n"1\n1"\nx\n', ("a",), "line 2, column 'a': '1.n1' is not a finite number"),
        ('a,b\n"",""\n1,"x\ny"\nz,2\n', ("a",), "line 5, column 'a': 'z'"),
        ("a,b\n1,2\n", ("c",), "line 1: has no column 'c'; choose one of 'a', 'b'"),
        ("a,b\n1,2\n", (), "column must be given, got None; choose one of 'a', 'b'"),
        ("a,a\n1,2\n", ("a",), "line 1: has two columns 'a'"),
        ("1,2\n3,4\n", (), "line 1: must have a header of names"),
        (
            "2020-01-01,2\n2020-01-02,4\n",
            (),
            "line 1: must have a header of names, got numbers or dates",
        ),
        ("date,a\n0001-01-01T00:00+05:00,1\n", ("a",), "line 2, .* is not a date"),
        ("date,a\n2020-01-01T00:00:00.5,1\n", ("a",), "line 2, .* is not a date"),
        ("a\n", ("a",), "must have lines under its header"),
        ("a\n1\ntwo\n", ("a",), "line 3, column 'a': 'two' is not a finite number"),
        ("a\n1_000\n", ("a",), "'1_000' is not"),
        ("a\n1\ninf\n", ("a",), "line 3, column 'a': 'inf' is not"),
        ("a\n1e400\n", ("a",), "'1e400' is not"),
        ("a\n\u0661\n", ("a",), "is not a finite"),
        ("a\nNA\n?\n", ("a",), "column 'a': has no value"),
        (
            "date,a\n2020-01-01,1\n2020-01-01,2\n",
            ("a",),
            "line 3, column 'date': has 2020-01-01T00:00:00 twice",
        ),
        ("date,a\n2020-01-02,1\n2020-01-01,2\n", ("a",), "line 3, .* comes after a later date"),
        ("date,a\n01/02/2020,1\n", ("a",), "line 2, column 'date': '01/02/2020' is not a date"),
        ("date,a\n2020-01-01,1\n,2\n", ("a",), "line 3, column 'date': '' is not a date"),
        ("date,a\n2020-01-01,1\n", ("a",), "must have >= 2 dates"),
        ("x,a\n2020-01-01,1\n", ("a", "y"), "has no column 'y'"),
        (
            "date,a\n2020-01-01,1\n2020-01-03,2\n2020-01-05,2\n2020-01-06,2\n",
            ("a",),
            "line 5, column 'date': 2020-01-06.* must be a multiple of 2 days",
        ),
        (
            "date,a\n2020-01-01,1\n2020-01-02,2\n2040-01-01,3\n",
            ("a",),
            "got 3 dates in 7306 time steps of 1 days",
        ),
    ],
)
def test_read_series_of_invalid_table_raises(file, text, arguments, message):
    refused(read_series, file(text, "a.csv"), message, *arguments)


def test_read_series_of_one_column_reads_blank_lines_as_gaps(file):
    np.testing.assert_array_equal(series(file, "a\n1\n\n3\n\n").values, [1, math.nan, 3])
    read = series(file, "a,b\n1,2\n,\n3,4\n,\n", "a")
    np.testing.assert_array_equal(read.values, [1, math.nan, 3])


# .ts

HEADER = "#note\n@problemName Toy\n@univariate false\n@dimensions 2\n@classLabel true a b\n@data\n"


def test_read_ts_reads_sequences_of_different_lengths(file):
    read = read_ts(file(HEADER + "1,2,?:4,5,6:b\n\n 7 : -8e-1 : a \n"))
    np.testing.assert_array_equal(read.sequences[0], [[1, 4], [2, 5], [np.nan, 6]])
    np.testing.assert_array_equal(read.sequences[1], np.array([[7, -0.8]], np.float32))
    assert read.labels.tolist() == [1, 0]
    assert read.classes == ("a", "b")
    assert read.sequences[0].dtype == np.float32


def test_read_ts_without_labels_and_counts_reads_sequences(file):
    read = read_ts(file("@classLabel false\n@data\n1,2:3,4\n"))
    assert read.labels is None
    assert read.sequences[0].tolist() == [[1, 3], [2, 4]]
    assert len(read_ts(file("@equalLength true\n@seriesLength 2\n@data\n1,2\n")).sequences) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "1,2:3,4:c\n", "line 7: label must be in @classLabel, got 'c'; use one of a, b"),
        (HEADER + "1,2:a\n", "line 7: must have 2 dimensions, got 1"),
        (
            HEADER + "1,2:3,4:a\n1,2:3:a\n",
            "line 8, dimension 2: must have 2 values, as dimension 1, got 1",
        ),
        (HEADER + "1,x:3,4:a\n", "line 7, dimension 1: 'x' is not a finite number"),
        (HEADER + "1,2:3,1e99:a\n", "line 7, dimension 2: '1e99' is not"),
        (HEADER + "1,2:3,:a\n", "line 7, dimension 2: '' is not"),
        (HEADER, "must have a sequence after @data"),
        ("@dimensions 2\n", "must have a line @data"),
        ("1,2\n@data\n", "line 1: header lines must start with @, got '1,2'"),
        (
            "@dimensions two\n@data\n1\n",
            "line 1: @dimensions must be a whole number >= 1, got 'two'",
        ),
        ("@dimensions 1\n@dimensions 1\n@data\n1\n", "line 2: has @dimensions twice"),
        ("@timeStamps true\n@data\n1\n", "line 1: has time stamps"),
        (
            "@classLabel true\n@data\n1:a\n",
            "line 1: @classLabel true must be followed by the labels",
        ),
        (
            "@equalLength true\n@data\n1,2\n1\n",
            "line 4: must have 2 time steps by the header, got 1",
        ),
        ("@univariate true\n@data\n1:2\n", "line 3: must have 1 dimensions, got 2"),
    ],
)
def test_read_ts_of_inconsistent_file_raises(file, text, message):
    refused(read_ts, file(text, "a.ts"), message)


# .npz


def archive(tmp_path, **arrays):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    return path


def test_read_npz_with_lengths_masks_padding(tmp_path):
    path = archive(
        tmp_path,
        inputs=np.array([[1, 2, 250], [3, 4, 5]], np.uint8),
        targets=np.array([1, 0], np.uint8),
        lengths=[2, 3],
    )
    batch = read_npz(path, vocab_size=6, num_classes=2)
    assert batch.inputs.tolist() == [[1, 2, 0], [3, 4, 5]]
    assert batch.targets.tolist() == [[-1, 1, -1], [-1, -1, 0]]
    assert batch.mask.tolist() == [[True, True, False], [True, True, True]]
    assert batch.inputs.dtype == batch.targets.dtype == np.int32


def test_read_npz_of_values_keeps_unscored_targets(tmp_path):
    inputs = np.array([[[1.0], [np.nan]]])
    targets = np.array([[[np.nan, 2.0], [3.0, 4.0]]])
    mask = np.array([[True, False]])
    batch = read_npz(archive(tmp_path, inputs=inputs, targets=targets, mask=mask))
    assert batch.inputs.tolist() == [[[1.0], [0.0]]]
    np.testing.assert_array_equal(batch.targets, [[[np.nan, 2], [np.nan, np.nan]]])
    classes = np.array([[7, 7]], np.uint8)
    assert read_npz(
        archive(tmp_path, inputs=inputs, targets=classes, mask=mask)
    ).targets.tolist() == [[7, -1]]
    assert read_npz(archive(tmp_path, inputs=inputs[:, :1], targets=classes[:, :1])).mask is None


IDS = np.array([[0, 1], [2, 3]])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"inputs": IDS}, r"must have an array 'targets', got inputs"),
        (
            {"inputs": IDS * 2, "targets": IDS},
            r"example 1, time step 0: inputs must be in \[0, 4\), got 4",
        ),
        (
            {"inputs": IDS - 1, "targets": IDS},
            "example 0, time step 0: inputs must be in .* got -1",
        ),
        (
            {"inputs": IDS + 2**32, "targets": IDS},
            "example 0, time step 0: inputs must be in .* got 4294967296",
        ),
        (
            {"inputs": IDS, "targets": IDS + 2},
            "example 1, time step 0: targets must be in .* or -1 .* got 4",
        ),
        (
            {"inputs": IDS, "targets": np.array([0, -1])},
            "example 1, time step 0: targets must be in .* got -1",
        ),
        ({"inputs": IDS * 1.0, "targets": IDS}, "inputs must be integers .* got float64 of shape"),
        ({"inputs": IDS, "targets": IDS * 1.0}, "targets must be integers .* got float64 of shape"),
        (
            {"inputs": IDS, "targets": IDS[:1]},
            r"targets must have shape \(2, 2\), as inputs, got \(1, 2\)",
        ),
        ({"inputs": IDS[:0], "targets": IDS[:0]}, r"inputs must not be empty, got shape \(0, 2\)"),
        (
            {"inputs": IDS, "targets": IDS, "lengths": [1, 3]},
            "example 1: lengths must be in 1 to 2, got 3",
        ),
        (
            {"inputs": IDS, "targets": IDS, "lengths": [1.0, 2.0]},
            "lengths must be integers .* got float64",
        ),
        ({"inputs": IDS, "targets": IDS, "mask": IDS}, "mask must be bool .* got int64"),
        (
            {"inputs": IDS, "targets": IDS, "mask": [[True, True], [False, True]]},
            "example 1: mask must be True, then False",
        ),
        (
            {"inputs": IDS, "targets": IDS, "lengths": [1, 2], "mask": IDS > -1},
            "must have lengths or mask, got both",
        ),
        (
            {"inputs": np.array([[[1.0], [np.inf]]]), "targets": IDS[:1]},
            "example 0, time step 1: inputs must be finite",
        ),
        (
            {"inputs": np.array([[[1.0], [1e99]]]), "targets": IDS[:1]},
            "example 0, time step 1: inputs must be finite",
        ),
        (
            {"inputs": IDS, "targets": np.full((2, 2, 1), np.inf)},
            "example 0, time step 0: targets must be finite",
        ),
        ({"inputs": np.array([[{}]], object), "targets": IDS}, "cannot be read: Object arrays"),
        ({"inputs": IDS, "targets": np.full((2, 2), 2**64 - 1, np.uint64)}, "got 18446744073709"),
    ],
)
def test_read_npz_of_invalid_arrays_raises(tmp_path, arrays, message):
    refused(read_npz, archive(tmp_path, **arrays), message, vocab_size=4, num_classes=4)


def test_read_npz_of_other_files_raises(tmp_path, file):
    refused(read_npz, tmp_path / "none.npz", "does not exist")
    refused(read_npz, file("text", "a.npz"), "is not an .npz file")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inputs.npy", b"not numpy")
    refused(
        read_npz, file(packed.getvalue(), "b.npz"), "b.npz: cannot be read: a member is not an arr"
    )
    np.savez_compressed(tmp_path / "c.npz", inputs=np.arange(200), targets=IDS)
    damaged = bytearray((tmp_path / "c.npz").read_bytes())
    damaged[60:90] = bytes(30)
    refused(read_npz, file(bytes(damaged), "c.npz"), "c.npz: cannot be read")


def test_read_npz_of_too_large_archive_raises_before_unpacking(tmp_path, monkeypatch):
    path = archive(tmp_path, inputs=IDS, targets=IDS)
    monkeypatch.setattr(npz, "MAX_ARRAY_BYTES", 100)
    refused(read_npz, path, "bytes of arrays; at most 100 are read: split it")
