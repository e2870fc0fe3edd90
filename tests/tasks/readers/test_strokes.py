"""Reader of drawings: arrays of arrays without unpickling, plain arrays, and bad files."""

import contextlib
import io
import pickle
import zipfile

import numpy as np
import pytest

from rnnlab.errors import DataError
from rnnlab.tasks.readers.pickled_arrays import read_array_of_arrays
from rnnlab.tasks.readers.strokes import read_strokes, write_strokes

DRAWINGS = [
    np.array([[1, 2, 0], [3, -4, 1]], np.int16),
    np.array([[7, 0, 1]], np.int16),
]


def objects(arrays):
    found = np.empty(len(arrays), object)
    found[:] = arrays
    return found


def write(path, **arrays):
    np.savez(path, **{name: objects(x) for name, x in arrays.items()})
    return path


def test_parts_of_arrays_of_arrays_are_read(tmp_path):
    path = write(tmp_path / "a.npz", train=DRAWINGS, valid=DRAWINGS[:1], test=DRAWINGS[1:])
    parts = read_strokes(path)
    assert list(parts) == ["train", "valid", "test"]
    for found, wanted in zip(parts["train"], DRAWINGS, strict=True):
        np.testing.assert_array_equal(found, wanted)
        assert found.dtype == np.float32


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["<i2", ">i4", "<f4", "|u1"])
def test_arrays_of_every_protocol_and_byte_order_are_read(protocol, dtype):
    arrays = [x.astype(dtype) for x in DRAWINGS]
    arrays.append(np.asfortranarray(np.arange(300).reshape(100, 3)).astype(dtype))
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|O", "fortran_order": False, "shape": (3,)}
    )
    pickle.dump(objects(arrays), file, protocol=protocol)
    if protocol == 5:  # which NumPy does not write; buffers may be outside of the file
        with pytest.raises(DataError, match=r"a\.npz"):
            read_array_of_arrays("a.npz", "train.npy", file.getvalue())
        return
    found = read_array_of_arrays("a.npz", "train.npy", file.getvalue())
    for x, y in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(x, y)


class Attack:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    "content",
    [[Attack()], [{"a": 1}], [print], ["text"], [np.array(["a"])], [np.zeros(2, complex)], [None]],
    ids=lambda content: type(content[0]).__name__,
)
def test_other_objects_are_refused_and_nothing_is_executed(tmp_path, capsys, content):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("train", "valid", "test"):
            file = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|O", "fortran_order": False, "shape": (1,)}
            )
            pickle.dump(objects(content), file, protocol=2)
            archive.writestr(f"{name}.npy", file.getvalue())
    with pytest.raises(DataError, match=r"train\.npy") as caught:
        read_strokes(path)
    assert "\n" not in str(caught.value)
    assert not capsys.readouterr().out


def test_corrupt_bytes_raise_no_other_error(tmp_path):
    path = write(tmp_path / "a.npz", train=DRAWINGS, valid=DRAWINGS, test=DRAWINGS)
    with zipfile.ZipFile(path) as archive:
        raw = archive.read("train.npy")
    rng = np.random.default_rng(0)
    for _ in range(60):
        changed = bytearray(raw)
        for at in rng.integers(0, len(raw), 3):
            changed[at] = rng.integers(256)
        changed = changed[: rng.integers(10, len(raw))]
        with contextlib.suppress(DataError):
            read_array_of_arrays(path, "train.npy", bytes(changed))


def test_plain_arrays_are_read(tmp_path):
    write_strokes(tmp_path / "a.npz", DRAWINGS)
    (drawings,) = read_strokes(tmp_path / "a.npz").values()
    assert [x.tolist() for x in drawings] == [x.tolist() for x in DRAWINGS]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"strokes": [[1, 2, 0]], "lengths": [2]}, "must have the 2 points of lengths"),
        ({"strokes": [[1, 2, 0]], "lengths": [1.0]}, "must be integers >= 1"),
        ({"strokes": [[1, 2, 5]], "lengths": [1]}, "drawing 0: must have a pen of 0 or 1"),
        ({"strokes": [[1, np.nan, 1]], "lengths": [1]}, "must have finite numbers"),
        ({"strokes": [[1, 2]], "lengths": [1]}, r"must be numbers of shape \(points, 3\)"),
        ({"lines": [[1, 2, 0]]}, "must have the arrays strokes and lengths"),
    ],
)
def test_invalid_arrays_are_refused(tmp_path, arrays, message):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=message):
        read_strokes(path)


def test_files_of_another_kind_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_strokes(tmp_path / "none.npz")
    (tmp_path / "b.npz").write_text("text", encoding="utf-8")
    with pytest.raises(DataError, match=r"is not an \.npz file"):
        read_strokes(tmp_path / "b.npz")
