"""Checkpoints: saved trees are restored, old ones deleted, and a full disk corrupts nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest
from example_state import METADATA, same, tree

from rnnlab.atomic_io import read_json, write_json
from rnnlab.errors import CheckpointError, CorruptCheckpointError, InsufficientResourcesError
from rnnlab.runs.checkpoints import store as module
from rnnlab.runs.checkpoints.store import CheckpointStore


def test_restore_of_a_saved_step_returns_the_same_bits(stored):
    checkpoints, lines = stored
    for step in (1, 2, 3):
        restored = checkpoints.restore(step, tree())
        assert same(restored.tree, tree(step))
        assert restored.metadata == METADATA
    assert checkpoints.restore_latest(tree()).step == 3
    assert lines == []


def test_save_keeps_the_best_and_the_two_latest_steps(stored):
    checkpoints, _ = stored
    checkpoints.save(4, tree(4), best=False)
    assert checkpoints.saved_steps() == [1, 3, 4]
    checkpoints.save(5, tree(5), best=True)
    assert checkpoints.saved_steps() == [4, 5]
    assert (checkpoints.best_step(), read_json(checkpoints.latest_path)["step"]) == (5, 5)
    assert sorted(p.name for p in checkpoints.directory.iterdir()) == ["4", "5"]


def test_save_over_a_file_with_the_steps_name_is_an_error(stored):
    checkpoints, _ = stored
    for place, make in (("4", Path.touch), ("5", lambda path: path.symlink_to("none"))):
        make(checkpoints.directory / place)
        with pytest.raises(CheckpointError, match=f"{place} exists but is not a checkpoint"):
            checkpoints.save(int(place), tree(20), best=False)
        assert os.path.lexists(checkpoints.directory / place)
    assert read_json(checkpoints.latest_path) == {"step": 3}


def test_save_of_an_existing_step_leaves_it_unchanged(stored):
    checkpoints, _ = stored
    checkpoints.save(3, tree(9), best=False)
    assert same(checkpoints.restore(3, tree()).tree, tree(3))


def changed(**leaves):
    return {name: x for name, x in (tree() | leaves).items() if x is not None}


@pytest.mark.parametrize(
    ("like", "message"),
    [
        (changed(weights=jnp.zeros((3, 5))), r"weights: float32\[3,4\] stored, float32\[3,5\] wa"),
        (changed(weights=jnp.zeros((3, 4), jnp.bfloat16)), r"float32\[3,4\] stored, bfloat16\["),
        (changed(weights=jnp.zeros((3, 4), jnp.int32)), r"float32\[3,4\] stored, int32\[3,4\] w"),
        (changed(weights=None), r"weights: float32\[3,4\] stored, nothing wanted"),
        (changed(more=jnp.zeros(2)), r"more: nothing stored, float32\[2\] wanted"),
        (
            changed(**{f"more{k}": jnp.zeros(2) for k in range(9)}),
            r"(more\d: nothing stored.*){5}; and 4 more",
        ),
    ],
)
def test_restore_into_another_model_names_the_leaves(stored, like, message):
    checkpoints, lines = stored
    with pytest.raises(CheckpointError, match=message) as refused:
        checkpoints.restore_latest(like)
    assert not isinstance(refused.value, CorruptCheckpointError)
    assert lines == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"train": {"steps": 9, "seed": 0}, "task": "Adding"}, "train.steps 8, got 9"),
        ({"train": {"steps": 8, "seed": 0}, "task": "Text"}, "task 'Adding', got 'Text'"),
        (
            {"train": {"steps": 8, "seed": 0, "new": None}, "task": "Adding"},
            "new missing, got None",
        ),
    ],
)
def test_restore_with_other_settings_names_the_setting(stored, tmp_path, config, message):
    with pytest.raises(CheckpointError, match=message):
        CheckpointStore(tmp_path, {"config": config}).restore_latest(tree())


def test_restore_latest_orders_by_number_not_by_time(stored):
    checkpoints, _ = stored
    for step, time in ((1, 3e9), (2, 1e9), (3, 2e9)):
        os.utime(checkpoints.directory / str(step), (time, time))
    assert checkpoints.restore_latest(tree()).step == 3


def test_saved_steps_ignore_other_directory_entries(stored, tmp_path):
    checkpoints, _ = stored
    for name in ("007", "-3", "60 copy", "9.tmp", "x"):
        (checkpoints.directory / name).mkdir()
    (checkpoints.directory / "70").write_text("", encoding="utf-8")
    (checkpoints.directory / "80").symlink_to(checkpoints.directory / "1")
    assert checkpoints.saved_steps() == [1, 2, 3]


def test_remove_stale_tmp_deletes_unfinished_files_of_both_formats(stored):
    checkpoints, _ = stored
    for name in ("4.tmp", "5.new", "6.old"):
        (checkpoints.directory / name / "state").mkdir(parents=True)
    (checkpoints.directory / "2").rename(checkpoints.directory / "2.trash")
    for name in ("latest.json.tmp", "best.json.new"):
        checkpoints.latest_path.with_name(name).write_text("{", encoding="utf-8")
    checkpoints.remove_stale_tmp()
    assert sorted(p.name for p in checkpoints.directory.iterdir()) == ["1", "3"]
    names = {path.name for path in checkpoints.latest_path.parent.iterdir()}
    assert names == {"checkpoints", "latest.json", "best.json"}


def test_archive_after_moves_later_steps_and_keeps_them(stored):
    checkpoints, _ = stored
    assert checkpoints.archive_after(1, "archived") == [2, 3]
    assert checkpoints.restore_latest(tree(), strict=True).step == 1
    checkpoints.save(2, tree(20), best=False)
    assert checkpoints.restore_latest(tree()).step == 2
    assert checkpoints.archive_after(1, "archived") == [2]
    archived = checkpoints.directory.parent / "archived"
    assert sorted(p.name for p in archived.iterdir()) == ["2", "2.2", "3"]


def test_archive_after_twice_keeps_both_copies(stored):
    checkpoints, _ = stored
    checkpoints.archive_after(2, "archived")
    checkpoints.save(3, tree(20), best=False)
    checkpoints.archive_after(2, "archived")
    archived = checkpoints.directory.parent / "archived"
    assert sorted(path.name for path in archived.iterdir()) == ["3", "3.2"]


def test_archive_after_starts_with_the_last_step(stored, monkeypatch):
    """A process killed in between must not resume from a step that was to be archived."""
    checkpoints, _ = stored
    moved = []
    monkeypatch.setattr(checkpoints, "move_away", lambda path, archive_dir: moved.append(path.name))
    checkpoints.archive_after(0, "archived")
    assert moved == ["3", "2", "1"]


def test_save_that_fails_in_orbax_is_an_error_and_leaves_nothing(stored, monkeypatch):
    checkpoints, _ = stored

    def full(path, tree):
        (path / "half").mkdir(parents=True)
        raise ValueError("RESOURCE_EXHAUSTED: ... No space left on device [os_error_code='28']")

    monkeypatch.setattr(module.ocp, "save", full)
    with pytest.raises(
        InsufficientResourcesError, match=r"step 4 could not be saved in .*RESOURCE_EXHAUSTED"
    ):
        checkpoints.save(4, tree(4), best=False)
    assert sorted(p.name for p in checkpoints.directory.iterdir()) == ["1", "2", "3"]
    monkeypatch.undo()
    checkpoints.save(4, tree(4), best=False)
    assert checkpoints.restore_latest(tree()).step == 4


def test_save_without_free_disk_space_is_an_error(stored, monkeypatch):
    checkpoints, _ = stored
    usage = shutil.disk_usage(checkpoints.directory)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(
        InsufficientResourcesError, match=r"step 4 needs 0.3 MB .* got 0.0 MB; free disk space"
    ):
        checkpoints.save(4, tree(4), best=False)


def test_save_flushes_the_files_before_the_name(tmp_path, monkeypatch):
    """And the directory that holds the name after it, then the pointers."""
    events = []
    checkpoints = CheckpointStore(tmp_path, METADATA)
    fsync, rename = module.fsync, module.Path.rename

    def synced(path):
        events.append(("fsync", path.name))
        fsync(path)

    def renamed(path, target):
        events.append(("rename", path.name))
        rename(path, target)

    def written(path, value):
        events.append(("write", path.name))
        write_json(path, value)

    monkeypatch.setattr(module, "fsync", synced)
    monkeypatch.setattr(module, "write_json", written)
    monkeypatch.setattr(module.Path, "rename", renamed)
    checkpoints.save(7, tree(), best=True)
    files = {path.name for path in (checkpoints.directory / "7").rglob("*")}
    at = events.index(("rename", "7.tmp"))
    assert {name for what, name in events[:at] if what == "fsync"} == {*files, "7.tmp"}
    assert events[at + 1 :] == [
        ("fsync", "checkpoints"),
        ("write", "latest.json"),
        ("write", "best.json"),
    ]


WRITE = """
import resource
import sys
from pathlib import Path
from rnnlab.atomic_io import write_json
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
write_json(Path(sys.argv[1]), {"step": list(range(100_000))})
"""


def test_write_json_that_fails_leaves_the_previous_content(tmp_path):
    path = tmp_path / "latest.json"
    write_json(path, {"step": 1})
    command = [sys.executable, "-c", WRITE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "InsufficientResourcesError" in done.stderr
    assert "latest.json could not be written: File too large" in done.stderr
    assert json.loads(path.read_text(encoding="utf-8")) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["latest.json"]
