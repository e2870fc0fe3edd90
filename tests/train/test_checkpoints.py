"""Checkpoints: what they hold comes back, and what is not what was written is named."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.errors import CheckpointError, DamagedError, ResourceError
from rnnlab.files import read_json, write_json
from rnnlab.train import checkpoints as module
from rnnlab.train import integrity
from rnnlab.train.checkpoints import Checkpoints

ABOUT = {"config": {"train": {"steps": 8, "seed": 0}, "task": "Adding"}}


def tree(seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    return {
        "weights": jax.random.normal(keys[0], (3, 4)),
        "half": jax.random.normal(keys[1], (5,), jnp.bfloat16),
        "key": keys[2],
        "step": np.array(seed),
        "odd": np.array([np.nan, -0.0, 1e-45, np.inf], np.float32),
        "nothing": (),
    }


@pytest.fixture
def stored(tmp_path):
    """Checkpoints of steps 1 to 3, of which 1 is the best."""
    lines = []
    checkpoints = Checkpoints(tmp_path, ABOUT, lines.append)
    for step in (1, 2, 3):
        checkpoints.save(step, tree(step), best=step == 1)
    return checkpoints, lines


def same(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    words = [tuple(map(words_of, pair)) for pair in pairs]
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in words)


def words_of(x):
    key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if key else x)


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


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("no memory"), ResourceError),
        (OSError(24, "Too many open files"), ResourceError),
        (ValueError("not understood"), CheckpointError),
    ],
)
def test_a_sound_step_that_cannot_be_read_is_not_called_damaged(stored, monkeypatch, error, kind):
    def load(*_):
        raise error

    monkeypatch.setattr(module.ocp, "load", load)
    with pytest.raises(kind, match=r"cannot be read, though it is sound") as raised:
        stored[0].newest(tree())
    assert not isinstance(raised.value, DamagedError)
    assert stored[0].steps() == [1, 2, 3]


def test_a_file_that_the_disk_gives_no_more_is_damage(stored, monkeypatch):
    checkpoints, warned = stored
    digest = integrity._file_digest

    def unreadable(path):
        if "/3/" in str(path):
            raise OSError(5, "Input/output error", str(path))
        return digest(path)

    monkeypatch.setattr(integrity, "_file_digest", unreadable)
    assert checkpoints.newest(tree()).step == 2
    assert "Input/output error" in warned[0]


def test_a_step_is_never_written_to_again(stored):
    checkpoints, _ = stored
    checkpoints.save(3, tree(9), best=False)
    assert same(checkpoints.restore(3, tree()).tree, tree(3))


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
    body = integrity.opened(where)
    leaves = {name: np.zeros(x["shape"], x["dtype"]) for name, x in body["leaves"].items()}
    (where / integrity.NAME).unlink()
    integrity.seal(where, leaves, ABOUT)
    with pytest.raises(DamagedError, match=r"half in .* is not what was stored"):
        checkpoints.verify(3)
    with pytest.raises(DamagedError, match="is not what was stored"):
        checkpoints.restore(3, tree())


def test_a_list_that_was_edited_is_damage(stored):
    checkpoints, _ = stored
    path = checkpoints.folder / "3" / integrity.NAME
    text = path.read_text(encoding="utf-8")
    assert text.count('"seed": 0') == 1
    path.write_text(text.replace('"seed": 0', '"seed": 1'), encoding="utf-8")
    with pytest.raises(DamagedError, match=r"integrity.json is not what was written"):
        checkpoints.verify(3)


def test_no_sound_step_is_an_error_and_no_step_is_none(stored, tmp_path):
    checkpoints, lines = stored
    for step in (1, 2, 3):
        (checkpoints.folder / str(step) / integrity.NAME).write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"no step of .* is sound"):
        checkpoints.newest(tree())
    assert len(lines) == 3
    shutil.rmtree(checkpoints.folder)
    with pytest.raises(CheckpointError, match="3, the step saved last, is missing, and so is"):
        checkpoints.newest(tree())
    assert Checkpoints(tmp_path / "other", ABOUT).newest(tree()) is None


def test_a_newest_step_that_is_gone_is_named(stored):
    checkpoints, lines = stored
    shutil.rmtree(checkpoints.folder / "3")
    assert checkpoints.newest(tree()).step == 2
    assert "3, the step saved last, is missing" in lines[0]
    with pytest.raises(CheckpointError, match="is missing; leave out --strict"):
        checkpoints.newest(tree(), strict=True)


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
    assert not isinstance(refused.value, DamagedError)
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
        Checkpoints(tmp_path, {"config": config}).newest(tree())


def test_a_later_format_is_no_damage(stored, monkeypatch):
    checkpoints, _ = stored
    monkeypatch.setattr(integrity, "FORMAT", 2)
    checkpoints.save(4, tree(4), best=False)
    monkeypatch.undo()
    with pytest.raises(
        CheckpointError, match=r"format 2, of a later rnnlab; .* upgrade"
    ) as refused:
        checkpoints.newest(tree())
    assert not isinstance(refused.value, DamagedError)


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


def test_a_file_that_is_a_link_is_damage(stored, tmp_path):
    checkpoints, _ = stored
    file = checkpoints.folder / "3" / "state" / "commit_success.txt"
    shutil.move(file, tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedError, match=r"commit_success.txt is a link"):
        checkpoints.verify(3)


def test_a_folder_that_is_a_link_is_damage(stored, tmp_path):
    checkpoints, _ = stored
    state = checkpoints.folder / "3" / "state"
    shutil.move(state, tmp_path / "elsewhere")
    state.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedError, match=r"state is a link"):
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
    with pytest.raises(DamagedError, match=r"outside is missing"):
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
    with pytest.raises(DamagedError, match=r"is not what was written"):
        checkpoints.restore(3, tree())


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
    with pytest.raises(ResourceError, match=r"step 4 could not be saved in .*RESOURCE_EXHAUSTED"):
        checkpoints.save(4, tree(4), best=False)
    assert sorted(p.name for p in checkpoints.folder.iterdir()) == ["1", "2", "3"]
    monkeypatch.undo()
    checkpoints.save(4, tree(4), best=False)
    assert checkpoints.newest(tree()).step == 4


def test_room_is_looked_for_before_a_save(stored, monkeypatch):
    checkpoints, _ = stored
    usage = shutil.disk_usage(checkpoints.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(ResourceError, match=r"step 4 needs 0.3 MB .* where 0.0 MB are free"):
        checkpoints.save(4, tree(4), best=False)


def test_the_steps_files_are_on_the_disk_before_its_name(tmp_path, monkeypatch):
    """And the folder that holds the name after it, then the pointers."""
    events = []
    checkpoints = Checkpoints(tmp_path, ABOUT)
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
from rnnlab.files import write_json
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


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"step": "x"}', '{"step": NaN}'])
def test_pointers_that_are_damaged_point_nowhere(stored, content):
    checkpoints, lines = stored
    for pointer in (checkpoints.best, checkpoints.latest):
        pointer.write_text(content, encoding="utf-8")
    assert checkpoints.best_step() is None
    assert checkpoints.newest(tree()).step == 3
    assert lines == []
