"""Arrays in `.npz` files: what is read, and one-line errors with a location."""

import io
import zipfile

import numpy as np
import pytest
from reader_files import assert_read_or_refused, assert_refused, outcome

from rnnlab.tasks.readers import npz
from rnnlab.tasks.readers.arrays import to_examples
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
    ("targets", "placed", "classes"),
    [
        (np.array(["dog", "cat"]), [[1, -1], [-1, 0]], ("cat", "dog")),
        (np.array([b"10", b"9"]), [[1, -1], [-1, 0]], ("9", "10")),
        (np.array([["b", "c"], ["", "a"]]), [[1, -1], [-1, 0]], ("a", "b")),
        (np.array([True, False]), [[1, -1], [-1, 0]], None),
        (np.array([0.5, np.nan]), [[[0.5], [np.nan]], [[np.nan], [np.nan]]], None),
        (np.array([[0.5, 9.0], [1.5, 2.5]]), [[[0.5], [np.nan]], [[1.5], [2.5]]], None),
    ],
)
def test_read_npz_of_other_targets_places_them(tmp_path, targets, placed, classes):
    for names in (("X", "y"), ("x", "labels")):
        arrays = dict(zip(names, (IDS, targets), strict=True))
        read = read_npz(archive(tmp_path, **arrays, lengths=[1, 2]))
        np.testing.assert_array_equal(read.targets, placed)
        assert read.classes == classes


def test_read_npz_of_one_value_per_time_step_adds_an_axis(tmp_path):
    read = read_npz(archive(tmp_path, X=IDS + 0.5), labelled=False)
    assert read.inputs.shape == (2, 2, 1)
    assert read.inputs.dtype == np.float32
    assert read.targets is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"inputs": IDS, "classes": IDS},
            "must have an array 'targets', 'y' or 'labels', got classes, inputs; rename or add it",
        ),
        ({"X": IDS, "x": IDS, "y": IDS}, "must have one of X and x, got both; remove one"),
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
        (
            {"inputs": IDS[0] * 1.0, "targets": IDS},
            r"inputs must be token ids .* or values .*, got float64 of shape \(2,\); add a batch",
        ),
        (
            {"inputs": IDS[None, None] * 1.0, "targets": IDS},
            r"got float64 of shape \(1, 1, 2, 2\); flatten the axes after time into one",
        ),
        ({"inputs": IDS.astype(str), "targets": IDS}, "got <U21 .*; convert them to numbers"),
        (
            {"inputs": IDS, "targets": IDS[..., None]},
            r"targets must be classes \(integers or strings\) or values .*, got int64 of shape",
        ),
        ({"inputs": IDS, "targets": IDS * 1j}, "got complex128 of shape .*; convert them"),
        (
            {"inputs": IDS, "targets": IDS[:, :1]},
            r"got \(2, 1\); give one target per sequence as targets\[:, 0\]",
        ),
        (
            {"inputs": IDS, "targets": np.eye(3)[:2]},
            r"got \(2, 3\); give classes instead of one-hot vectors: targets.argmax\(axis=1\)",
        ),
        ({"inputs": IDS, "targets": np.array(["a", ""])}, "example 1: .* not have an empty label"),
        ({"inputs": IDS, "targets": np.array([b"a", b"\xff"])}, "targets must be UTF-8"),
        (
            {"inputs": IDS, "targets": np.array(["a", None], object)},
            r"Object arrays cannot be loaded .*; save strings as y.astype\(str\)",
        ),
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


def test_read_npz_of_mutated_file_reads_or_raises_one_line(tmp_path, write_file):
    rng, messages = np.random.default_rng(0), []
    archive(tmp_path, X=IDS, y=np.array(["cat", "dog"]), lengths=[1, 2])
    whole = (tmp_path / "a.npz").read_bytes()
    for _ in range(200):
        raw = np.frombuffer(whole, np.uint8).copy()
        raw[rng.integers(len(raw), size=2)] = rng.integers(256, size=2)
        raw = raw.tobytes()[: rng.choice([len(raw), rng.integers(len(raw))], p=[0.9, 0.1])]
        messages.append(outcome(read_npz, write_file(raw, "b.npz")))
    assert_read_or_refused(messages)


def test_to_examples_of_random_arrays_reads_or_raises_one_line(tmp_path):
    rng, messages = np.random.default_rng(0), []
    dtypes = ("int8", "uint64", "float16", "float64", "bool", "U2", "S2", "complex64", "M8[s]")

    def draw(axes):
        shape = rng.integers(rng.choice([0, 1, 2], p=[0.05, 0.35, 0.6]), 3, size=axes)
        return (rng.normal(size=shape) * 3).round(1).astype(rng.choice(dtypes))

    for _ in range(2000):
        with np.errstate(invalid="ignore"):
            arrays = {"X": draw(rng.choice([0, 1, 2, 3, 4], p=[0.02, 0.02, 0.47, 0.47, 0.02]))}
            arrays["y"] = draw(rng.integers(0, 4))
        labelled = bool(rng.integers(2))
        messages.append(outcome(to_examples, tmp_path, arrays, labelled=labelled))
    assert messages.count("") > 50
    assert_read_or_refused(messages)
