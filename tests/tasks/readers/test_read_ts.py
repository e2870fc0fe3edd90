"""Sequences in `.ts` files: what is read, and one-line errors with a location."""

import numpy as np
import pytest
from reader_files import assert_refused

from rnnlab.tasks.readers.ts import read_ts

HEADER = "#note\n@problemName Toy\n@univariate false\n@dimensions 2\n@classLabel true a b\n@data\n"


def test_read_ts_reads_sequences_of_different_lengths(write_file):
    read = read_ts(write_file(HEADER + "1,2,?:4,5,6:b\n\n 7 : -8e-1 : a \n"))
    np.testing.assert_array_equal(read.sequences[0], [[1, 4], [2, 5], [np.nan, 6]])
    np.testing.assert_array_equal(read.sequences[1], np.array([[7, -0.8]], np.float32))
    assert read.labels.tolist() == [1, 0]
    assert read.classes == ("a", "b")
    assert read.sequences[0].dtype == np.float32


def test_read_ts_without_labels_and_counts_reads_sequences(write_file):
    read = read_ts(write_file("@classLabel false\n@data\n1,2:3,4\n"))
    assert read.labels is None
    assert read.sequences[0].tolist() == [[1, 3], [2, 4]]
    assert (
        len(read_ts(write_file("@equalLength true\n@seriesLength 2\n@data\n1,2\n")).sequences) == 1
    )


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
def test_read_ts_of_inconsistent_file_raises(write_file, text, message):
    assert_refused(read_ts, write_file(text, "a.ts"), message)
