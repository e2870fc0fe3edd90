"""Real faults in real processes: nothing saved is lost, and the resumed run ends the same.

Each test first proves that its fault happened. One fault of each kind runs every day; the
others are marked slow.
"""

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from faults import concurrent_writers, corruption, disk, kills, signals
from faults.harness import LAST_STEP
from rnnlab.runs.checkpoints.store import CheckpointStore

slow = pytest.mark.slow


def trials(everyday, total):
    """The numbers of trials; those from `everyday` on are slow."""
    return [pytest.param(k, marks=() if k < everyday else slow) for k in range(total)]


def check(record, **expected):
    assert {name: record[name] for name in expected} == expected, record


@pytest.mark.parametrize("seed", trials(1, 200))
def test_sigkill_in_a_save_or_at_any_moment_loses_nothing(lab, tmp_path, seed):
    record = kills.kill_in_a_run(lab, tmp_path, seed, inside=seed % 6 != 5)
    check(record, killed=True, kept=True, resumed=True, same=True, metrics=True)
    assert record["inside"] or seed % 6 == 5


@pytest.mark.parametrize("seed", trials(1, 50))
def test_sigkill_in_the_first_save_starts_from_step_0(lab, tmp_path, seed):
    record = kills.kill_in_the_first_save(lab, tmp_path, seed)
    check(record, killed=True, inside=True, told=True, resumed=True, same=True)


@pytest.mark.parametrize("seed", trials(1, 50))
def test_sigkill_in_a_deletion_leaves_every_step_valid(lab, tmp_path, seed):
    record = kills.kill_in_a_deletion(lab, tmp_path, seed)
    check(record, killed=True, inside=True, sound=True, resumed=True, same=True)


def test_interrupted_deletion_leaves_every_step_valid(tmp_path, monkeypatch):
    checkpoints = CheckpointStore(tmp_path, {})
    remove, interrupted = shutil.rmtree, []

    def interrupt(path, *arguments, **options):
        path = Path(path)
        if path.name == "1" or path.suffix == ".trash":
            next(file for file in path.rglob("*") if file.is_file()).unlink()
            interrupted.append(path)
            raise KeyboardInterrupt
        remove(path, *arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", interrupt)
    for step in (1, 2):
        checkpoints.save(step, {"x": np.zeros(2)}, best=False)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(3, {"x": np.zeros(2)}, best=False)
    assert len(interrupted) == 1
    for step in checkpoints.saved_steps():
        checkpoints.verify(step)


@slow
@pytest.mark.parametrize("seed", range(10))
def test_repeated_sigkill_loses_nothing(lab, tmp_path, seed):
    record = kills.kill_repeatedly(lab, tmp_path, seed, kills=10)
    check(record, killed=True, resumed=True, same=True)


def stops(number, everyday, repetitions):
    """Parameters: a signal, a stage and a repetition; the stages not named are slow."""
    return [
        pytest.param(number, stage, k, marks=() if stage in everyday and not k else slow)
        for stage in signals.STAGES
        for k in range(repetitions)
    ]


@pytest.mark.parametrize(
    ("number", "stage", "repetition"),
    stops(signal.SIGTERM, ("save",), 6) + stops(signal.SIGINT, ("step",), 2),
)
def test_signal_at_a_stage_stops_after_the_last_save(lab, tmp_path, number, stage, repetition):
    record = signals.stop_at(lab, tmp_path, stage, number)
    check(record, reached=True, code=128 + number, lines=1, committed=True)
    check(record, resumed=True, same=True)
    assert record["step"] == {"step": 3, "evaluation": 2, "save": 2}.get(stage, -1)


@pytest.mark.parametrize("trial", trials(1, 10))
def test_second_sigterm_ends_immediately_and_loses_nothing(lab, tmp_path, trial):
    record = signals.terminate_twice(lab, tmp_path)
    check(record, reached=True, code=-15, kept=True, same=True)
    assert record["seconds"] < 1


@pytest.mark.parametrize("flips", [60, pytest.param(500, marks=slow)])
def test_flipped_bits_are_detected_or_harmless(lab, tmp_path, flips):
    found = list(corruption.flip_bits(lab, tmp_path, flips, seed=0))
    assert [record for record in found if not (record["detected"] or record["harmless"])] == []
    assert {"array data", "manifest.json", "_METADATA"} <= {record["file"] for record in found}
    assert sum(record["detected"] for record in found) > len(found) / 2


def test_corrupt_files_are_named_and_the_previous_step_is_restored(lab, tmp_path):
    found = list(corruption.corrupt_files(lab, tmp_path))
    assert [record for record in found if not record["ok"]] == []
    assert len(found) > 40


def test_corrupt_pointers_change_nothing(lab, tmp_path):
    found = list(corruption.corrupt_pointers(lab, tmp_path))
    assert [record for record in found if not record["ok"]] == []
    assert len(found) == len(corruption.POINTERS) * len(corruption.KINDS)


@pytest.mark.parametrize("trial", trials(1, 20))
def test_run_with_a_corrupt_file_resumes_from_the_previous_step(lab, tmp_path, trial):
    run = lab.reference_run
    files = [file for file in corruption.step_files(run) if (run / file).stat().st_size]
    file, kind = files[trial % len(files)], corruption.KINDS[trial % len(corruption.KINDS)]
    record = corruption.corrupt_and_resume(lab, tmp_path, file, kind)
    check(record, strict=4, strict_lines=1, code=0, warned=1, kept=True, same=True)


@pytest.fixture
def small_disk(tmp_path):
    try:
        with disk.small_disk(tmp_path / "disk") as folder:
            yield folder
    except OSError as error:
        pytest.skip(str(error))


FULL = {"code": 5, "lines": 1, "reached": True, "committed": True, "clean": True, "same": True}


@pytest.mark.parametrize(
    ("save", "unchecked"),
    [
        (3, True),
        pytest.param(3, False, marks=slow),
        *(pytest.param(save, unchecked, marks=slow) for save in (1, 2) for unchecked in (0, 1)),
    ],
)
def test_full_disk_at_a_save_is_one_line_and_resumes(lab, small_disk, save, unchecked):
    record = disk.fill_at_a_save(lab, small_disk, save, 4096, bool(unchecked))
    check(record, **FULL)
    assert ("could not be saved" if unchecked else "MB of free disk space") in record["said"]


@slow
@pytest.mark.parametrize("number", [4, 1])
def test_full_disk_at_a_metrics_record_is_one_line_and_resumes(lab, small_disk, number):
    record = disk.fill_at_a_record(lab, small_disk, number)
    check(record, **FULL)
    assert "metrics.jsonl could not be written: No space left" in record["said"]


@pytest.mark.parametrize("starts", [2, pytest.param(20, marks=slow)])
def test_second_writers_are_refused_while_the_first_trains(lab, tmp_path, starts):
    found = []
    while len(found) < starts:
        out = tmp_path / str(len(found))
        met = concurrent_writers.second_writers(lab, out, starts - len(found))
        assert met, "no start met the first run"
        found += met
    for record in found:
        check(record, running=True, code=7, named=True, lines=1, first=0, same=True)
        assert record["seconds"] < 2


@slow
@pytest.mark.parametrize("writers", [2, 4])
def test_concurrent_start_runs_exactly_one_writer(lab, tmp_path, writers):
    check(concurrent_writers.concurrent_start(lab, tmp_path, writers), one=True, same=True)


@slow
def test_lock_of_a_killed_writer_does_not_block(lab, tmp_path):
    check(concurrent_writers.stale_lock(lab, tmp_path), killed=True, resumed=True, same=True)


def test_resume_from_an_earlier_step_archives_the_later_ones(lab, tmp_path):
    folder = lab.copy_reference_without_result(tmp_path)
    (folder / "result.json").write_bytes((lab.reference_run / "result.json").read_bytes())
    earlier = LAST_STEP - 2
    outcome = lab.resume(tmp_path, "--from-step", str(earlier))
    assert outcome.code == 0
    assert f"moved step {LAST_STEP} to {folder / 'archived'}" in outcome.stderr
    assert lab.matches_reference(tmp_path)
    assert sorted(p.name for p in (folder / "archived").iterdir()) == [
        str(LAST_STEP),
        "result.json",
    ]
    logged = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    assert f'"resumed_from": {earlier}' in logged
