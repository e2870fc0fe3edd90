"""Real faults in real processes: nothing committed is lost, and what is resumed ends the same.

Each first proves that its fault happened. At full size with `--long`.
"""

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from faults import concurrent_writers, corruption, disk, kills, signals
from faults.harness import LAST
from rnnlab.runs.checkpoints.store import CheckpointStore


def trials(quick, full):
    """The numbers of trials; those from `quick` on are for `--long` alone."""
    marks = (() if k < quick else (pytest.mark.long,) for k in range(full))
    return [pytest.param(k, marks=mark) for k, mark in enumerate(marks)]


def has(row, **wanted):
    assert {name: row[name] for name in wanted} == wanted, row


@pytest.mark.parametrize("seed", trials(8, 200))
def test_sigkill_at_any_moment(lab, tmp_path, seed):
    row = kills.kill_in_a_run(lab, tmp_path, seed, inside=seed % 6 != 5)
    has(row, killed=True, kept=True, resumed=True, same=True, metrics=True)
    assert row["inside"] or seed % 6 == 5


@pytest.mark.parametrize("seed", trials(2, 50))
def test_sigkill_in_the_first_save(lab, tmp_path, seed):
    row = kills.kill_in_the_first_save(lab, tmp_path, seed)
    has(row, killed=True, inside=True, told=True, resumed=True, same=True)


@pytest.mark.parametrize("seed", trials(2, 50))
def test_sigkill_in_the_deletion_of_an_old_step(lab, tmp_path, seed):
    row = kills.kill_in_a_deletion(lab, tmp_path, seed)
    has(row, killed=True, inside=True, sound=True, resumed=True, same=True)


def test_a_deletion_that_is_cut_short_leaves_every_step_sound(tmp_path, monkeypatch):
    checkpoints = CheckpointStore(tmp_path, {})
    remove, cut = shutil.rmtree, []

    def cut_short(path, *arguments, **options):
        path = Path(path)
        if path.name == "1" or path.suffix == ".trash":
            next(file for file in path.rglob("*") if file.is_file()).unlink()
            cut.append(path)
            raise KeyboardInterrupt
        remove(path, *arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", cut_short)
    for step in (1, 2):
        checkpoints.save(step, {"x": np.zeros(2)}, best=False)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(3, {"x": np.zeros(2)}, best=False)
    assert len(cut) == 1
    for step in checkpoints.saved_steps():
        checkpoints.verify(step)


@pytest.mark.parametrize("seed", trials(1, 10))
def test_sigkill_again_and_again(lab, tmp_path, seed, size):
    row = kills.kill_in_a_chain(lab, tmp_path, seed, size(3, 10))
    has(row, killed=True, resumed=True, same=True)


@pytest.mark.parametrize("trial", trials(1, 6))
@pytest.mark.parametrize("stage", signals.STAGES)
def test_sigterm_at_every_stage(lab, tmp_path, stage, trial):
    stopped(signals.stop_at(lab, tmp_path, stage, signal.SIGTERM), code=143)


@pytest.mark.parametrize("trial", trials(0, 2))
@pytest.mark.parametrize("stage", signals.STAGES)
def test_sigint_at_every_stage(lab, tmp_path, stage, trial):
    stopped(signals.stop_at(lab, tmp_path, stage, signal.SIGINT), code=130)


def stopped(row, code):
    has(row, reached=True, code=code, lines=1, committed=True, resumed=True, same=True)
    assert row["step"] == {"step": 3, "evaluation": 2, "save": 2}.get(row["stage"], -1)


@pytest.mark.parametrize("trial", trials(1, 10))
def test_a_second_sigterm_ends_at_once_and_harms_nothing(lab, tmp_path, trial):
    row = signals.terminate_twice(lab, tmp_path)
    has(row, reached=True, code=-15, kept=True, same=True)
    assert row["seconds"] < 1


def test_flipped_bits_are_detected_or_harmless(lab, tmp_path, size):
    rows = list(corruption.flip_bits(lab, tmp_path, size(60, 500), seed=0))
    assert [row for row in rows if not (row["detected"] or row["harmless"])] == []
    assert {"array data", "manifest.json", "_METADATA"} <= {row["file"] for row in rows}
    assert sum(row["detected"] for row in rows) > len(rows) / 2


def test_broken_files_are_named_and_the_step_before_is_taken(lab, tmp_path):
    rows = list(corruption.break_files(lab, tmp_path))
    assert [row for row in rows if not row["ok"]] == []
    assert len(rows) > 40


def test_broken_pointers_change_nothing(lab, tmp_path):
    rows = list(corruption.break_pointers(lab, tmp_path))
    assert [row for row in rows if not row["ok"]] == []
    assert len(rows) == len(corruption.POINTERS) * len(corruption.KINDS)


@pytest.mark.parametrize("trial", trials(2, 20))
def test_a_run_goes_on_before_a_broken_file(lab, tmp_path, trial):
    files = [file for file in corruption.step_files(lab.whole) if (lab.whole / file).stat().st_size]
    file, kind = files[trial % len(files)], corruption.KINDS[trial % len(corruption.KINDS)]
    row = corruption.break_and_resume(lab, tmp_path, file, kind)
    has(row, strict=4, strict_lines=1, code=0, warned=1, kept=True, same=True)


@pytest.fixture
def small_disk(tmp_path):
    try:
        with disk.small_disk(tmp_path / "disk") as folder:
            yield folder
    except OSError as error:
        pytest.skip(str(error))


FULL = {"code": 5, "lines": 1, "reached": True, "committed": True, "clean": True, "same": True}


@pytest.mark.parametrize("save", [1, pytest.param(2, marks=pytest.mark.long), 3])
@pytest.mark.parametrize("unchecked", [False, True])
def test_a_disk_that_is_full_at_a_save(lab, small_disk, save, unchecked):
    row = disk.fill_at_a_save(lab, small_disk, save, 4096, unchecked)
    has(row, **FULL)
    assert ("could not be saved" if unchecked else "MB are free") in row["said"]


@pytest.mark.parametrize("number", [4, pytest.param(1, marks=pytest.mark.long)])
def test_a_disk_that_is_full_at_a_row_of_metrics(lab, small_disk, number):
    row = disk.fill_at_a_row(lab, small_disk, number)
    has(row, **FULL)
    assert "metrics.jsonl could not be written: No space left" in row["said"]


def test_second_writers_are_refused_while_the_first_goes_on(lab, tmp_path, size):
    rows = concurrent_writers.second_writers(lab, tmp_path, size(5, 20))
    assert len(rows) == size(5, 20)
    for row in rows:
        has(row, running=True, code=7, named=True, lines=1, first=0, same=True)
        assert row["seconds"] < 2


def test_of_writers_that_start_together_one_runs(lab, tmp_path):
    has(concurrent_writers.together(lab, tmp_path, 3), one=True, same=True)


def test_a_killed_writer_holds_nobody_up(lab, tmp_path):
    has(concurrent_writers.killed_holder(lab, tmp_path), killed=True, resumed=True, same=True)


def test_going_back_to_a_step_retires_those_after_it(lab, tmp_path):
    folder = lab.copy_of_whole(tmp_path)
    (folder / "result.json").write_bytes((lab.whole / "result.json").read_bytes())
    back = LAST - 2
    done = lab.resume(tmp_path, "--from-step", str(back))
    assert done.code == 0
    assert f"moved step {LAST} to {folder / 'archived'}" in done.err
    assert lab.same_end(tmp_path)
    assert sorted(p.name for p in (folder / "archived").iterdir()) == [str(LAST), "result.json"]
    read_metrics = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    assert f'"resumed_from": {back}' in read_metrics
