"""Runs of several processes from the command line: signals, kills, locks, resumes."""

import json
import shutil
import signal
import time

import pytest
from faults.harness import LAST_STEP, run_folder, saved_steps
from faults.process_kills import EXPECTED, digests, kill_one, resume, train, wait_for_step

from rnnlab import records
from rnnlab.errors import CHECKPOINT, LOCKED, PEER_LOST
from rnnlab.runs.lock import lock_run

slow = pytest.mark.slow


def losses(run):
    """The loss of each step of a run, of several records of a step the last."""
    found = records.read(run / "metrics.jsonl")
    return {record["step"]: record["loss"] for record in found if "loss" in record}


def assert_same_losses(one, folder, tolerance=1e-5):
    known, found = losses(run_folder(one / "out")), losses(run_folder(folder / "out"))
    assert len(known) == LAST_STEP
    assert known.keys() == found.keys()
    for step, loss in known.items():
        assert found[step] == pytest.approx(loss, abs=tolerance), step


@pytest.fixture(scope="module")
def undisturbed(lab, tmp_path_factory):
    """The folder of a run of two processes that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    ended = train(lab, folder).wait()
    assert [end.code for end in ended] == [0, 0], ended
    return folder, ended


@pytest.fixture(scope="module")
def one(lab, tmp_path_factory):
    """The folder of a run of one process."""
    folder = tmp_path_factory.mktemp("one")
    assert [end.code for end in train(lab, folder, count=1).wait()] == [0]
    return folder


def test_two_processes_have_the_losses_of_one_and_the_first_reports(one, undisturbed):
    folder, (first, second) = undisturbed
    assert_same_losses(one, folder)
    assert f"saved step {LAST_STEP}" in first.stderr
    assert "saved step" not in second.stderr
    result = json.loads((run_folder(folder / "out") / "result.json").read_text(encoding="utf-8"))
    assert result["steps"] == LAST_STEP


@slow
@pytest.mark.parametrize("victim", [1, 0])
def test_signal_to_one_process_stops_all_at_the_same_step(lab, undisturbed, tmp_path, victim):
    job = train(lab, tmp_path, point="every_step")
    wait_for_step(tmp_path, job, 2)
    job.children[victim].send_signal(signal.SIGTERM)
    ended = job.wait()
    assert [end.code for end in ended] == [143, 143], ended
    assert sum(len(end.lines) for end in ended) == 1
    run = run_folder(tmp_path / "out")
    step = saved_steps(run)[-1]
    assert f"saved step {step}" in ended[0].stderr
    assert 2 <= step < LAST_STEP
    assert [end.code for end in resume(tmp_path)] == [0, 0]
    assert digests(run) == digests(run_folder(undisturbed[0] / "out"))


@slow
@pytest.mark.parametrize("count", [1, 2])
def test_run_of_four_processes_resumes_on_fewer(lab, one, tmp_path, count):
    ended = train(lab, tmp_path, count=4).wait()
    assert [end.code for end in ended] == [0] * 4, ended
    run = run_folder(tmp_path / "out")
    (run / "result.json").unlink()
    shutil.rmtree(run / "checkpoints" / str(LAST_STEP))
    (run / "latest.json").unlink()
    mesh = ["--mesh.data", str(count)]
    refused = resume(tmp_path, *mesh, count=count, name="refused")
    assert [end.code for end in refused] == [CHECKPOINT] * count
    assert "the run must have 4 processes and the mesh data 4" in refused[0].stderr
    assert "--allow-other-mesh" in refused[0].stderr
    ended = resume(tmp_path, *mesh, "--allow-other-mesh", count=count)
    assert [end.code for end in ended] == [0] * count, ended
    assert_same_losses(one, tmp_path)


@slow
def test_second_job_is_refused_by_all_its_processes(undisturbed, tmp_path):
    run = run_folder(tmp_path / "out")
    shutil.copytree(run_folder(undisturbed[0] / "out"), run)
    (run / "result.json").unlink()
    with lock_run(run):
        ended = resume(tmp_path)
    assert [end.code for end in ended] == [LOCKED, LOCKED], ended
    assert sum(len(end.lines) for end in ended) == 1


@slow
@pytest.mark.parametrize("victim", [0, 1])
def test_kill_inside_a_save_leaves_every_step_valid(lab, undisturbed, tmp_path, victim):
    """The victim dies while process 0 pauses before the manifest of the second save."""
    job = train(lab, tmp_path, point="save")
    run = run_folder(tmp_path / "out")
    while not (run / "checkpoints" / "2.tmp" / "state" / "orbax.checkpoint").exists():
        assert job.children[0].poll() is None, job.wait()
        time.sleep(0.005)
    job.children[victim].kill()
    ended = job.wait()
    assert ended[1 - victim].code == PEER_LOST
    assert ended[1 - victim].at - ended[victim].at < 60
    assert [end.code for end in resume(tmp_path)] == [0, 0]
    assert digests(run) == digests(run_folder(undisturbed[0] / "out"))


@slow
@pytest.mark.parametrize("seed", range(20))
def test_kill_of_one_process_at_a_random_moment_loses_nothing(lab, undisturbed, tmp_path, seed):
    record = kill_one(lab, undisturbed[0], tmp_path, seed)
    assert {name: record[name] for name in EXPECTED} == EXPECTED, record
