"""Checkpoints that are not what was written: named, and never taken for what they were."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from example_state import ABOUT, same, tree

from rnnlab.errors import (CheckpointError, CorruptCheckpointError, InsufficientResourcesError)
from rnnlab.runs.checkpoints import store as module
from rnnlab.runs.checkpoints import manifest
from rnnlab.runs.checkpoints.store import CheckpointStore


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("no memory"), InsufficientResourcesError),
        (OSError(24, "Too many open files"), InsufficientResourcesError),
        (ValueError("not understood"), CheckpointError),
    ],
)
def test_a_sound_step_that_cannot_be_read_is_not_called_damaged(stored, monkeypatch, error, kind):
    def load(*_):
        raise error

    monkeypatch.setattr(module.ocp, "load", load)
    with pytest.raises(kind, match=r"cannot be read, though it is sound") as raised:
        stored[0].newest(tree())
    assert not isinstance(raised.value, CorruptCheckpointError)
    assert stored[0].steps() == [1, 2, 3]


def test_a_file_that_the_disk_gives_no_more_is_damage(stored, monkeypatch):
    checkpoints, warned = stored
    digest = manifest._file_digest

    def unreadable(path):
        if "/3/" in str(path):
            raise OSError(5, "Input/output error", str(path))
        return digest(path)

    monkeypatch.setattr(integrity, "_file_digest", unreadable)
    assert checkpoints.newest(tree()).step == 2
    assert "Input/output error" in warned[0]


def test_a_flipped_bit_is_named_and_the_step_before_is_taken(stored):
    checkpoints, lines = stored
    largest = max(checkpoints.folder.glob("3/**/d/*"), key=lambda path: path.stat().st_size)
    raw = bytearray(largest.read_bytes())
    raw[len(raw) // 2] ^= 1
    largest.write_bytes(raw)
    restored = checkpoints.newest(tree())
    assert same(restored.tree, tree(2))
    assert lines == [
        f"step 3 is damaged: {largest} is not what was written",
        "going on from step 2, the newest that is sound",
    ]
    with pytest.raises(CheckpointError, match=r"step 3 is damaged.*leave out --strict"):
        checkpoints.newest(tree(), strict=True)
    assert 3 in checkpoints.steps()


def test_an_array_that_is_not_what_was_stored_is_named(stored):
    """Files that agree with their digests, and an array that does not with its own."""
    checkpoints, _ = stored
    where = checkpoints.folder / "3"
    body = manifest.opened(where)
    leaves = {name: np.zeros(x["shape"], x["dtype"]) for name, x in body["leaves"].items()}
    (where / manifest.NAME).unlink()
    manifest.seal(where, leaves, ABOUT)
    with pytest.raises(CorruptCheckpointError, match=r"half in .* is not what was stored"):
        checkpoints.verify(3)
    with pytest.raises(CorruptCheckpointError, match="is not what was stored"):
        checkpoints.restore(3, tree())


def test_a_list_that_was_edited_is_damage(stored):
    checkpoints, _ = stored
    path = checkpoints.folder / "3" / manifest.NAME
    text = path.read_text(encoding="utf-8")
    assert text.count('"seed": 0') == 1
    path.write_text(text.replace('"seed": 0', '"seed": 1'), encoding="utf-8")
    with pytest.raises(CorruptCheckpointError, match=r"integrity.json is not what was written"):
        checkpoints.verify(3)


def test_no_sound_step_is_an_error_and_no_step_is_none(stored, tmp_path):
    checkpoints, lines = stored
    for step in (1, 2, 3):
        (checkpoints.folder / str(step) / manifest.NAME).write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"no step of .* is sound"):
        checkpoints.newest(tree())
    assert len(lines) == 3
    shutil.rmtree(checkpoints.folder)
    with pytest.raises(CheckpointError, match="3, the step saved last, is missing, and so is"):
        checkpoints.newest(tree())
    assert CheckpointStore(tmp_path / "other", ABOUT).newest(tree()) is None


def test_a_newest_step_that_is_gone_is_named(stored):
    checkpoints, lines = stored
    shutil.rmtree(checkpoints.folder / "3")
    assert checkpoints.newest(tree()).step == 2
    assert "3, the step saved last, is missing" in lines[0]
    with pytest.raises(CheckpointError, match="is missing; leave out --strict"):
        checkpoints.newest(tree(), strict=True)


def test_a_later_format_is_no_damage(stored, monkeypatch):
    checkpoints, _ = stored
    monkeypatch.setattr(integrity, "FORMAT", 2)
    checkpoints.save(4, tree(4), best=False)
    monkeypatch.undo()
    with pytest.raises(
        CheckpointError, match=r"format 2, of a later rnnlab; .* upgrade"
    ) as refused:
        checkpoints.newest(tree())
    assert not isinstance(refused.value, CorruptCheckpointError)


def test_a_file_that_is_a_link_is_damage(stored, tmp_path):
    checkpoints, _ = stored
    file = checkpoints.folder / "3" / "state" / "commit_success.txt"
    shutil.move(file, tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptCheckpointError, match=r"commit_success.txt is a link"):
        checkpoints.verify(3)


def test_a_folder_that_is_a_link_is_damage(stored, tmp_path):
    checkpoints, _ = stored
    state = checkpoints.folder / "3" / "state"
    shutil.move(state, tmp_path / "elsewhere")
    state.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptCheckpointError, match=r"state is a link"):
        checkpoints.verify(3)


@pytest.mark.parametrize("name", ["../../outside", "{}/outside"])
def test_a_list_that_leads_outside_is_damage(stored, name):
    checkpoints, _ = stored
    outside = checkpoints.folder.parent / "outside"
    outside.write_text("x", encoding="utf-8")
    path = checkpoints.folder / "3" / "integrity.json"
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
        {"about": []},
        {"about": {"config": 5}},
        {"about": {"versions": []}},
        {"files": 1},
        {"format": "1"},
    ],
)
def test_a_forged_list_of_another_shape_is_damage(stored, change):
    checkpoints, _ = stored
    path = checkpoints.folder / "3" / "integrity.json"
    body = {**json.loads(path.read_text(encoding="utf-8")), **change}
    body.pop("sha256")
    forged = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({"sha256": forged, **body}), encoding="utf-8")
    with pytest.raises(CorruptCheckpointError, match=r"is not what was written"):
        checkpoints.restore(3, tree())


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"step": "x"}', '{"step": NaN}'])
def test_pointers_that_are_damaged_point_nowhere(stored, content):
    checkpoints, lines = stored
    for pointer in (checkpoints.best, checkpoints.latest):
        pointer.write_text(content, encoding="utf-8")
    assert checkpoints.best_step() is None
    assert checkpoints.newest(tree()).step == 3
    assert lines == []
