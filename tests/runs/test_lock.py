"""One writer per run."""

import os
import signal
import subprocess
import sys

import pytest

from rnnlab.errors import CheckpointError, RunLockedError
from rnnlab.runs.lock import lock_run

HOLDER = """
import sys, time
from pathlib import Path
from rnnlab.runs.lock import lock_run
try:
    with lock_run(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
except ValueError as error:
    print("refused", error, flush=True)
"""


def holder(folder):
    command = [sys.executable, "-c", HOLDER, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


@pytest.fixture
def held(tmp_path):
    process, printed = holder(tmp_path / "run")
    assert printed == "held"
    yield tmp_path / "run", process
    process.kill()
    process.communicate()


def test_second_writer_gets_an_error_that_names_the_first(held):
    folder, process = held
    with pytest.raises(RunLockedError, match=rf"{folder} is locked by process {process.pid} on "):
        lock_run(folder).__enter__()


def test_killed_writer_releases_the_lock(held):
    folder, process = held
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with lock_run(folder):
        pass


def test_lock_held_by_the_same_process_is_an_error(tmp_path):
    with lock_run(tmp_path), pytest.raises(RunLockedError, match=f"process {os.getpid()}"):
        lock_run(tmp_path).__enter__()
    with lock_run(tmp_path):
        pass


@pytest.mark.parametrize("name", ["run.lock", "metrics.jsonl", "checkpoints", "best.json.tmp"])
def test_symlink_in_a_run_directory_is_an_error(tmp_path, name):
    outside = tmp_path / "outside"
    outside.write_text("kept", encoding="utf-8")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(outside)
    with pytest.raises(CheckpointError, match=f"{name} must not be a symlink"):
        lock_run(tmp_path / "run").__enter__()
    assert outside.read_text(encoding="utf-8") == "kept"


def test_concurrent_writers_exactly_one_gets_the_lock(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    options = {"stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, **options) for _ in range(4)]
    printed = [process.stdout.readline().split()[0] for process in started]
    for process in started:
        process.kill()
        process.communicate()
    assert sorted(printed) == ["held", "refused", "refused", "refused"]
