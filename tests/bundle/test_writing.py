"""Writing of bundles: completely or not at all, and nothing that is not a bundle is replaced."""

import dataclasses
import os
import resource

import jax
import numpy as np
import pytest

from rnnlab.bundle import add_files, open_bundle, write_bundle
from rnnlab.errors import BundleError, InsufficientResourcesError
from rnnlab.models import ModelConfig


@pytest.fixture
def small_disk():
    """A limit on the size of files, below that of the weights, as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder):
    """The content of every file below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_written_bundle_has_its_description_files_and_nothing_else(written):
    assert sorted(path.name for path in written.path.iterdir()) == [
        "bundle.json",
        "card.md",
        "model.safetensors",
        "note.txt",
        "reference.json",
    ]
    assert [path.name for path in written.path.parent.iterdir()] == ["small"]
    assert written.read("note.txt") == b"note"
    with pytest.raises(ValueError, match=r"must have a file 'step.onnx', got card.md"):
        written.read("step.onnx")


def test_equal_bundles_have_equal_bytes(written, arrays, tmp_path):
    again = write_bundle(
        tmp_path / "again",
        written.description,
        arrays,
        card="# small\n",
        files={"note.txt": b"note"},
    )
    assert again.digest == written.digest


def test_bundle_that_cannot_be_written_leaves_nothing(written, arrays, tmp_path, small_disk):
    with pytest.raises(InsufficientResourcesError, match="could not be written"):
        write_bundle(tmp_path / "new", written.description, arrays)
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_added_leave_the_bundle_as_it_was(folder, small_disk):
    before = contents(folder.parent)
    with pytest.raises(InsufficientResourcesError, match="could not be written"):
        add_files(folder, {"step.onnx": b"x" * 1000})
    assert contents(folder.parent) == before
    open_bundle(folder)


def test_added_files_are_read_and_replaced(folder):
    first = open_bundle(folder)
    added = add_files(folder, {"step.onnx": b"one", "parity.json": b"{}"})
    assert added.read("step.onnx") == b"one"
    assert added.read("note.txt") == b"note"
    assert added.digest != first.digest
    assert add_files(folder, {"step.onnx": b"two"}).read("step.onnx") == b"two"
    assert [path.name for path in folder.parent.iterdir()] == ["small"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../x", "must be 1 to 100 letters"),
        (".x", "must be 1 to 100 letters"),
        ("bundle.json", "must be 1 to 100 letters"),
        ("model.safetensors", "files must not replace model.safetensors"),
    ],
)
def test_file_of_an_invalid_name_is_not_added(folder, name, message):
    before = contents(folder.parent.parent)
    with pytest.raises(ValueError, match=message):
        add_files(folder, {name: b"x"})
    assert contents(folder.parent.parent) == before


def test_existing_folder_is_replaced_only_if_it_is_a_bundle(folder, arrays, tmp_path):
    bundle = open_bundle(folder)
    with pytest.raises(ValueError, match="must not exist, and does; choose another --out"):
        write_bundle(folder, bundle.description, arrays)
    named = dataclasses.replace(bundle.description, name="other")
    assert write_bundle(folder, named, arrays, overwrite=True).name == "other"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("x")
    with pytest.raises(BundleError, match="must be a bundle"):
        write_bundle(mine, named, arrays, overwrite=True)
    (folder / "thesis.txt").write_text("x")
    with pytest.raises(BundleError, match="must have only the files"):
        write_bundle(folder, named, arrays, overwrite=True)
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
    assert (folder / "thesis.txt").exists()


def test_replaced_bundle_keeps_files_that_are_linked_elsewhere(folder):
    copy = folder.parent.parent / "weights"
    os.link(folder / "model.safetensors", copy)
    before = copy.read_bytes()
    add_files(folder, {"a.txt": b"a"})
    assert copy.read_bytes() == before


WRONG = {
    "missing": (lambda x: {k: v for k, v in x.items() if k != "head_bias"}, "got None"),
    "unknown": (lambda x: {**x, "other": x["head_bias"]}, "must have 'other' as None"),
    "shape": (lambda x: {**x, "head_bias": np.zeros(9, np.float32)}, r"shape=\(9,\)"),
    "dtype": (lambda x: {**x, "head_bias": np.zeros(3)}, "dtype='float64'"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_arrays_that_do_not_fit_the_architecture_are_refused(
    written, arrays, tmp_path, change, message
):
    with pytest.raises(ValueError, match=message):
        write_bundle(tmp_path / "new", written.description, change(arrays))
    assert list(tmp_path.iterdir()) == []


def test_description_that_could_not_be_read_is_not_written(written, arrays, tmp_path):
    huge = dataclasses.replace(written.description, source={"note": "x" * (17 << 20)})
    with pytest.raises(ValueError, match="must have at most 16,777,216 bytes to be read"):
        write_bundle(tmp_path / "new", huge, arrays)
    assert list(tmp_path.iterdir()) == []


def test_cell_of_a_users_file_is_refused_in_one_line(written, arrays, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from rnnlab import MinGRU\n\n\nclass Mine(MinGRU):\n    pass\n"
    )
    config = ModelConfig(f"{tmp_path / 'mine.py'}:Mine", width=4, depth=1)
    description = dataclasses.replace(written.description, config=config)
    with pytest.raises(ValueError, match="must be of registered cells") as caught:
        write_bundle(tmp_path / "new", description, arrays)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_preparation_of_a_users_file_is_refused_in_one_line(written, arrays, tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Mine:
        pass

    description = dataclasses.replace(written.description, preparation=Mine())
    with pytest.raises(ValueError, match="the preparation of a bundle must be one of Text"):
        write_bundle(tmp_path / "new", description, arrays)
    assert list(tmp_path.iterdir()) == []


def test_model_of_a_bundle_computes_as_the_one_that_was_written(written, model):
    tokens = jax.numpy.array([0, 1, 2, 1])
    np.testing.assert_array_equal(written.model()(tokens)[1], model(tokens)[1])
    assert (written.name, written.vocabulary) == ("small", ("a", "b", "c"))
    assert written.arrays()["head_bias"].flags.writeable is False
