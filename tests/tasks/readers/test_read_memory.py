"""Examples in memory: which arrays, lists and pandas objects are read, and one-line errors."""

import re

import numpy as np
import pytest

from rnnlab.errors import DataError
from rnnlab.tasks.readers.memory import arrays_in_memory, plain_arrays


def test_plain_arrays_of_different_lengths_are_padded():
    inputs = [np.ones((2, 3)), np.ones((1, 3), np.float32)]
    arrays = plain_arrays(inputs, [["a", "b"], ["c"]])
    assert arrays["inputs"].shape == (2, 2, 3)
    assert arrays["inputs"][1].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert arrays["targets"].tolist() == [["a", "b"], ["c", ""]]
    assert arrays["lengths"].tolist() == [2, 1]
    tags = plain_arrays([[1, 2], [3]], [np.array([0, 1], np.uint8), np.array([1], np.uint8)])
    assert tags["targets"].tolist() == [[0, 1], [1, -1]]
    values = plain_arrays([[1, 2], [3]], [[0.5, 1.5], [2.5]])["targets"]
    np.testing.assert_array_equal(values, [[0.5, 1.5], [2.5, np.nan]])


def test_plain_arrays_of_equal_lengths_have_no_lengths():
    arrays = plain_arrays(np.array([[1, 2], [3, 4]], object), ["a", "b"])
    assert set(arrays) == {"inputs", "targets"}
    assert arrays["inputs"].dtype == np.int64
    assert arrays["targets"].dtype.kind == "U"


def test_plain_arrays_of_pandas_objects():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"t0": [0.5, 1.0], "t1": [2.0, 3.0], "y": ["up", "down"]})
    arrays = plain_arrays(frame[["t0", "t1"]], frame["y"].astype("category"))
    assert arrays["inputs"].tolist() == [[0.5, 2.0], [1.0, 3.0]]
    assert arrays["targets"].tolist() == ["up", "down"]
    ragged = plain_arrays(pandas.Series([np.array([1.0]), np.array([1.0, 2.0])]))
    assert ragged["lengths"].tolist() == [1, 2]


def test_arrays_in_memory_are_inputs_or_a_tuple_or_a_mapping():
    inputs = np.ones((2, 3))
    assert set(arrays_in_memory(inputs)) == {"inputs"}
    assert set(arrays_in_memory((inputs, [0, 1]))) == {"inputs", "targets"}
    assert set(arrays_in_memory({"X": inputs, "lengths": [1, 2]})) == {"X", "lengths"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a", 1, None],), "inputs must be all numbers or all strings, got NoneType, int, str"),
        (([[1], ["a", "b"]],), "inputs must be all numbers or all strings, got both"),
        (([[1], [2, None]],), "inputs[1] must be all numbers or all strings, got NoneType, int"),
        (([[1], []],), "inputs[1] must have a time step, got none; remove it"),
        (([np.ones(2), np.ones((3, 1))],), "inputs[1] must have shape (time,), as the first, got"),
        (([np.ones((2, 2)), np.ones((3, 1))],), "must have shape (time, 2), as the first, got (3,"),
        (([[1], [2, 3]], [0, 1], [1, 2]), "lengths must be None for inputs of different lengths"),
        (([[1], [2, 3]], [[0, 1], [1]]), "example 0: targets must have 1 time steps, as inputs"),
        (([[1, 2], [2, 3]], [[0, 1], [1]]), "targets must be as long as their inputs"),
        (([[1, 2], [2, 3]], ["a", None]), "targets must be all numbers or all strings, got"),
        (([[1], [2, 3]], None, "ab"), "lengths must be None"),
    ],
)
def test_plain_arrays_of_invalid_data_raises(arguments, message):
    with pytest.raises(DataError, match=re.escape(message)) as raised:
        plain_arrays(*arguments)
    assert str(raised.value).startswith("data in memory")
    assert len(str(raised.value).splitlines()) == 1


def test_arrays_in_memory_of_a_tuple_of_three_raises():
    with pytest.raises(DataError, match=r"must be \(inputs, targets\) if a tuple, got 3 items"):
        arrays_in_memory(([1], [2], [3]))
