"""Checkpoints: what they hold comes back, and room, order and what is in the way."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest
from example_state import ABOUT, same, tree

from rnnlab.errors import (CheckpointError, CorruptCheckpointError, InsufficientResourcesError)
from rnnlab.atomic_io import (read_json, write_json)
from rnnlab.runs.checkpoints import store as module
from rnnlab.runs.checkpoints.store import CheckpointStore


def test_what_was_saved_comes_back_bit_by_bit(stored):
    checkpoints, lines = stored
    for step in (1, 2, 3):
        restored = checkpoints.restore(step, tree())
        assert same(restored.tree, tree(step))
        assert restored.about == ABOUT
    assert checkpoints.newest(tree()).step == 3
    assert lines == []


def test_the_best_and_the_two_latest_are_kept(stored):
    checkpoints, _ = stored
    checkpoints.save(4, tree(4), best=False)
    assert checkpoints.steps() == [1, 3, 4]
    checkpoints.save(5, tree(5), best=True)
    assert checkpoints.steps() == [4, 5]
    assert (checkpoints.best_step(), read_json(checkpoints.latest)["step"]) == (5, 5)
    assert sorted(p.name for p in checkpoints.folder.iterdir()) == ["4", "5"]


def test_a_file_with_a_steps_name_is_refused_and_stays(stored):
    checkpoints, _ = stored
    for place, make in (("4", Path.touch), ("5", lambda path: path.symlink_to("none"))):
        make(checkpoints.folder / place)
        with pytest.raises(CheckpointError, match=f"{place} is no checkpoint, and has the name"):
            checkpoints.save(int(place), tree(20), best=False)
        assert os.path.lexists(checkpoints.folder / place)
    assert read_json(checkpoints.latest) == {"step": 3}


def test_a_step_is_never_written_to_again(stored):
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
def test_another_model_is_refused_by_its_leaves(stored, like, message):
    checkpoints, lines = stored
    with pytest.raises(CheckpointError, match=message) as refused:
        checkpoints.newest(like)
    assert not isinstance(refused.value, CorruptCheckpointError)
    assert lines == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"train": {"steps": 9, "seed": 0}, "task": "Adding"}, "train.steps 8, and 9 is wanted"),
        ({"train": {"steps": 8, "seed": 0}, "task": "Text"}, "task 'Adding', and 'Text'"),
        (
            {"train": {"steps": 8, "seed": 0, "new": None}, "task": "Adding"},
            "new left out, and None",
        ),
    ],
)
def test_other_settings_are_refused_by_name(stored, tmp_path, config, message):
    with pytest.raises(CheckpointError, match=message):
        CheckpointStore(tmp_path, {"config": config}).newest(tree())


def test_steps_are_ordered_by_number_whatever_the_clock_says(stored):
    checkpoints, _ = stored
    for step, time in ((1, 3e9), (2, 1e9), (3, 2e9)):
        os.utime(checkpoints.folder / str(step), (time, time))
    assert checkpoints.newest(tree()).step == 3


def test_what_is_no_step_is_passed_over(stored, tmp_path):
    checkpoints, _ = stored
    for name in ("007", "-3", "60 copy", "9.new", "x"):
        (checkpoints.folder / name).mkdir()
    (checkpoints.folder / "70").write_text("", encoding="utf-8")
    (checkpoints.folder / "80").symlink_to(checkpoints.folder / "1")
    assert checkpoints.steps() == [1, 2, 3]


def test_what_a_killed_process_left_is_removed(stored):
    checkpoints, _ = stored
    (checkpoints.folder / "4.new" / "state").mkdir(parents=True)
    (checkpoints.folder / "2").rename(checkpoints.folder / "2.old")
    checkpoints.latest.with_name("latest.json.new").write_text("{", encoding="utf-8")
    checkpoints.clean()
    assert sorted(p.name for p in checkpoints.folder.iterdir()) == ["1", "3"]
    assert not list(checkpoints.latest.parent.glob("*.new"))


def test_later_steps_are_moved_aside_and_kept(stored):
    checkpoints, _ = stored
    assert checkpoints.retire(1, "retired") == [2, 3]
    assert checkpoints.newest(tree(), strict=True).step == 1
    checkpoints.save(2, tree(20), best=False)
    assert checkpoints.newest(tree()).step == 2
    assert checkpoints.retire(1, "retired") == [2]
    retired = checkpoints.folder.parent / "retired"
    assert sorted(p.name for p in retired.iterdir()) == ["2", "2.2", "3"]


def test_what_is_moved_aside_twice_is_there_twice(stored):
    checkpoints, _ = stored
    checkpoints.retire(2, "retired")
    checkpoints.save(3, tree(20), best=False)
    checkpoints.retire(2, "retired")
    retired = checkpoints.folder.parent / "retired"
    assert sorted(path.name for path in retired.iterdir()) == ["3", "3.2"]


def test_later_steps_are_moved_from_the_last_one_on(stored, monkeypatch):
    """Who is killed in between goes on from no step that was to be left."""
    checkpoints, _ = stored
    moved = []
    monkeypatch.setattr(checkpoints, "put_away", lambda path, into: moved.append(path.name))
    checkpoints.retire(0, "retired")
    assert moved == ["3", "2", "1"]


def test_a_save_that_orbax_refuses_is_an_error(stored, monkeypatch):
    checkpoints, _ = stored

    def full(path, tree):
        (path / "half").mkdir(parents=True)
        raise ValueError("RESOURCE_EXHAUSTED: ... No space left on device [os_error_code='28']")

    monkeypatch.setattr(module.ocp, "save", full)
    with pytest.raises(InsufficientResourcesError, match=r"step 4 could not be saved in .*RESOURCE_EXHAUSTED"):
        checkpoints.save(4, tree(4), best=False)
    assert sorted(p.name for p in checkpoints.folder.iterdir()) == ["1", "2", "3"]
    monkeypatch.undo()
    checkpoints.save(4, tree(4), best=False)
    assert checkpoints.newest(tree()).step == 4


def test_room_is_looked_for_before_a_save(stored, monkeypatch):
    checkpoints, _ = stored
    usage = shutil.disk_usage(checkpoints.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(InsufficientResourcesError, match=r"step 4 needs 0.3 MB .* where 0.0 MB are free"):
        checkpoints.save(4, tree(4), best=False)


def test_the_steps_files_are_on_the_disk_before_its_name(tmp_path, monkeypatch):
    """And the folder that holds the name after it, then the pointers."""
    events = []
    checkpoints = CheckpointStore(tmp_path, ABOUT)
    sync, rename = module.sync, module.Path.rename

    def synced(path):
        events.append(("sync", path.name))
        sync(path)

    def renamed(path, target):
        events.append(("rename", path.name))
        rename(path, target)

    def written(path, value):
        events.append(("write", path.name))
        write_json(path, value)

    monkeypatch.setattr(module, "sync", synced)
    monkeypatch.setattr(module, "write_json", written)
    monkeypatch.setattr(module.Path, "rename", renamed)
    checkpoints.save(7, tree(), best=True)
    files = {path.name for path in (checkpoints.folder / "7").rglob("*")}
    at = events.index(("rename", "7.new"))
    assert {name for what, name in events[:at] if what == "sync"} == {*files, "7.new"}
    assert events[at + 1 :] == [
        ("sync", "checkpoints"),
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


def test_a_file_that_cannot_be_written_whole_is_what_it_was(tmp_path):
    path = tmp_path / "latest.json"
    write_json(path, {"step": 1})
    command = [sys.executable, "-c", WRITE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "ResourceError" in done.stderr
    assert "latest.json could not be written: File too large" in done.stderr
    assert json.loads(path.read_text(encoding="utf-8")) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["latest.json"]
