"""Arrays in `.npz` files: what is read, and one-line errors with a location."""

import io
import zipfile

import numpy as np
import pytest
from reader_files import assert_refused

from rnnlab.tasks.readers import npz
from rnnlab.tasks.readers.npz import read_npz


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
    assert_refused(read_npz, archive(tmp_path, **arrays), message, vocab_size=4, num_classes=4)


def test_read_npz_of_other_files_raises(tmp_path, write_file):
    assert_refused(read_npz, tmp_path / "none.npz", "does not exist")
    assert_refused(read_npz, write_file("text", "a.npz"), "is not an .npz file")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inputs.npy", b"not numpy")
    assert_refused(
        read_npz,
        write_file(packed.getvalue(), "b.npz"),
        "b.npz: cannot be read: a member is not an arr",
    )
    np.savez_compressed(tmp_path / "c.npz", inputs=np.arange(200), targets=IDS)
    damaged = bytearray((tmp_path / "c.npz").read_bytes())
    damaged[60:90] = bytes(30)
    assert_refused(read_npz, write_file(bytes(damaged), "c.npz"), "c.npz: cannot be read")


def test_read_npz_of_too_large_archive_raises_before_unpacking(tmp_path, monkeypatch):
    path = archive(tmp_path, inputs=IDS, targets=IDS)
    monkeypatch.setattr(npz, "MAX_ARRAY_BYTES", 100)
    assert_refused(read_npz, path, "bytes of arrays; at most 100 are read: split it")
