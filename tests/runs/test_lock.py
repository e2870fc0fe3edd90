"""One writer a run."""

import os
import signal
import subprocess
import sys

import pytest

from rnnlab.errors import (RunLockedError, CheckpointError)
from rnnlab.runs.lock import locked

HOLDER = """
import sys, time
from pathlib import Path
from rnnlab.train.lock import locked
try:
    with locked(Path(sys.argv[1])):
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
    process, said = holder(tmp_path / "run")
    assert said == "held"
    yield tmp_path / "run", process
    process.kill()
    process.communicate()


def test_the_second_writer_is_told_who_the_first_is(held):
    folder, process = held
    with pytest.raises(RunLockedError, match=rf"{folder} is written by process {process.pid} on "):
        locked(folder).__enter__()


def test_a_killed_writer_holds_nothing(held):
    folder, process = held
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with locked(folder):
        pass


def test_a_process_excludes_itself_too(tmp_path):
    with locked(tmp_path), pytest.raises(RunLockedError, match=f"process {os.getpid()}"):
        locked(tmp_path).__enter__()
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("name", ["run.lock", "metrics.jsonl", "checkpoints", "best.json.new"])
def test_nothing_is_written_through_a_link(tmp_path, name):
    outside = tmp_path / "outside"
    outside.write_text("kept", encoding="utf-8")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(outside)
    with pytest.raises(CheckpointError, match=f"{name} is a link, which a run is not written"):
        locked(tmp_path / "run").__enter__()
    assert outside.read_text(encoding="utf-8") == "kept"


def test_of_writers_that_start_together_exactly_one_runs(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    options = {"stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, **options) for _ in range(4)]
    said = [process.stdout.readline().split()[0] for process in started]
    for process in started:
        process.kill()
        process.communicate()
    assert sorted(said) == ["held", "refused", "refused", "refused"]
