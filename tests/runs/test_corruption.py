"""Corrupt checkpoints are named and never restored."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from example_state import METADATA, same, tree

from rnnlab.errors import CheckpointError, CorruptCheckpointError, InsufficientResourcesError
from rnnlab.runs.checkpoints import manifest
from rnnlab.runs.checkpoints import store as module
from rnnlab.runs.checkpoints.store import CheckpointStore


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("no memory"), InsufficientResourcesError),
        (OSError(24, "Too many open files"), InsufficientResourcesError),
        (ValueError("not understood"), CheckpointError),
    ],
)
def test_valid_step_that_cannot_be_read_is_not_called_corrupt(stored, monkeypatch, error, kind):
    def load(*_):
        raise error

    monkeypatch.setattr(module.ocp, "load", load)
    with pytest.raises(kind, match=r"is valid but cannot be read") as raised:
        stored[0].restore_latest(tree())
    assert not isinstance(raised.value, CorruptCheckpointError)
    assert stored[0].saved_steps() == [1, 2, 3]


def test_unreadable_file_is_corruption(stored, monkeypatch):
    checkpoints, warned = stored
    digest = manifest._file_digest

    def unreadable(path):
        if "/3/" in str(path):
            raise OSError(5, "Input/output error", str(path))
        return digest(path)

    monkeypatch.setattr(manifest, "_file_digest", unreadable)
    assert checkpoints.restore_latest(tree()).step == 2
    assert "Input/output error" in warned[0]


def test_flipped_bit_is_named_and_the_previous_step_is_restored(stored):
    checkpoints, lines = stored
    largest = max(checkpoints.directory.glob("3/**/d/*"), key=lambda path: path.stat().st_size)
    raw = bytearray(largest.read_bytes())
    raw[len(raw) // 2] ^= 1
    largest.write_bytes(raw)
    restored = checkpoints.restore_latest(tree())
    assert same(restored.tree, tree(2))
    assert lines == [
        f"step 3 is corrupt: {largest} differs from what was written",
        "resuming from step 2, the newest valid checkpoint",
    ]
    with pytest.raises(CheckpointError, match=r"step 3 is corrupt.*omit --strict"):
        checkpoints.restore_latest(tree(), strict=True)
    assert 3 in checkpoints.saved_steps()


def test_array_that_differs_from_its_digest_is_named(stored):
    """The files agree with their digests, and one array does not."""
    checkpoints, _ = stored
    where = checkpoints.directory / "3"
    listed = manifest.read_verified_manifest(where).leaves
    leaves = {name: np.zeros(x["shape"], x["dtype"]) for name, x in listed.items()}
    (where / manifest.MANIFEST_FILE).unlink()
    manifest.write_manifest(where, manifest.describe_leaves(leaves), METADATA)
    with pytest.raises(CorruptCheckpointError, match=r"half in .* differs from what was stored"):
        checkpoints.verify(3)
    with pytest.raises(CorruptCheckpointError, match="differs from what was stored"):
        checkpoints.restore(3, tree())


def test_edited_manifest_is_corruption(stored):
    checkpoints, _ = stored
    path = checkpoints.directory / "3" / manifest.MANIFEST_FILE
    text = path.read_text(encoding="utf-8")
    assert text.count('"seed": 0') == 1
    path.write_text(text.replace('"seed": 0', '"seed": 1'), encoding="utf-8")
    with pytest.raises(
        CorruptCheckpointError, match=r"manifest.json differs from what was written"
    ):
        checkpoints.verify(3)


def test_restore_latest_without_a_valid_step_is_an_error_and_without_steps_is_none(
    stored, tmp_path
):
    checkpoints, lines = stored
    for step in (1, 2, 3):
        (checkpoints.directory / str(step) / manifest.MANIFEST_FILE).write_text(
            "{", encoding="utf-8"
        )
    with pytest.raises(CheckpointError, match=r"must have a valid checkpoint, and has none"):
        checkpoints.restore_latest(tree())
    assert len(lines) == 3
    shutil.rmtree(checkpoints.directory)
    with pytest.raises(
        CheckpointError, match="3, the latest checkpoint, is missing, and there is no"
    ):
        checkpoints.restore_latest(tree())
    assert CheckpointStore(tmp_path / "other", METADATA).restore_latest(tree()) is None


def test_missing_latest_step_is_named(stored):
    checkpoints, lines = stored
    shutil.rmtree(checkpoints.directory / "3")
    assert checkpoints.restore_latest(tree()).step == 2
    assert "3, the latest checkpoint, is missing" in lines[0]
    with pytest.raises(CheckpointError, match="is missing; omit --strict"):
        checkpoints.restore_latest(tree(), strict=True)


def test_later_format_is_not_corruption(stored, monkeypatch):
    checkpoints, _ = stored
    monkeypatch.setattr(manifest, "FORMAT", 4)
    checkpoints.save(4, tree(4), best=False)
    monkeypatch.undo()
    with pytest.raises(
        CheckpointError, match=r"format <= 3, got 4 of a later rnnlab; upgrade"
    ) as refused:
        checkpoints.restore_latest(tree())
    assert not isinstance(refused.value, CorruptCheckpointError)


def test_symlink_to_a_file_is_corruption(stored, tmp_path):
    checkpoints, _ = stored
    file = checkpoints.directory / "3" / "state" / "commit_success.txt"
    shutil.move(file, tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(
        CorruptCheckpointError, match=r"commit_success.txt must be .* got a symlink"
    ):
        checkpoints.verify(3)


def test_symlink_to_a_directory_is_corruption(stored, tmp_path):
    checkpoints, _ = stored
    state = checkpoints.directory / "3" / "state"
    shutil.move(state, tmp_path / "elsewhere")
    state.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptCheckpointError, match=r"state must be .* got a symlink"):
        checkpoints.verify(3)


@pytest.mark.parametrize("name", ["../../outside", "{}/outside"])
def test_manifest_with_paths_outside_is_corruption(stored, name):
    checkpoints, _ = stored
    outside = checkpoints.directory.parent / "outside"
    outside.write_text("x", encoding="utf-8")
    path = checkpoints.directory / "3" / manifest.MANIFEST_FILE
    body = json.loads(path.read_text(encoding="utf-8"))
    body.pop("sha256")
    body["files"][name.format(outside.parent)] = hashlib.sha256(b"x").hexdigest()
    forged = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({"sha256": forged, **body}), encoding="utf-8")
    with pytest.raises(CorruptCheckpointError, match=r"outside is missing"):
        checkpoints.verify(3)


@pytest.mark.parametrize(
    "change",
    [
        {"leaves": []},
        {"leaves": {"x": 0}},
        {"leaves": {"x": {"shape": 5, "dtype": "float32", "sha256": ""}}},
        {"metadata": []},
        {"metadata": {"config": 5}},
        {"metadata": {"versions": []}},
        {"files": 1},
        {"format": "1"},
    ],
)
def test_manifest_of_another_structure_is_corruption(stored, change):
    checkpoints, _ = stored
    path = checkpoints.directory / "3" / manifest.MANIFEST_FILE
    body = {**json.loads(path.read_text(encoding="utf-8")), **change}
    body.pop("sha256")
    forged = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({"sha256": forged, **body}), encoding="utf-8")
    with pytest.raises(CorruptCheckpointError, match=r"differs from what was written"):
        checkpoints.restore(3, tree())


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"step": "x"}', '{"step": NaN}'])
def test_corrupt_pointers_are_ignored(stored, content):
    checkpoints, lines = stored
    for pointer in (checkpoints.best_path, checkpoints.latest_path):
        pointer.write_text(content, encoding="utf-8")
    assert checkpoints.best_step() is None
    assert checkpoints.restore_latest(tree()).step == 3
    assert lines == []
