"""Jobs on this machine and on a pretended SLURM: options, retries, results, time limits, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("submitit")

from rnnlab import errors, records
from rnnlab.cli import main
from rnnlab.jobs.launch import DONE, FAILED, JOBS_FILE, Launcher, Resources
from rnnlab.runs.lock import lock_run

SBATCH = """#!/bin/bash
cp "$1" "{folder}/submitted.sh"
echo "Submitted batch job 42"
export SLURM_JOB_ID=42 SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0
export SLURM_LOCALID=0
(sleep 0.5; bash "$1") >"{folder}/job.log" 2>&1 &
"""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do
  case $1 in --output|--error) shift 2;; *) shift;; esac
done
exec "$@"
"""
SACCT = """#!/bin/bash
echo "JobID|State|NodeList"
echo "42|RUNNING|here"
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder with programs that pretend to be SLURM: jobs run on this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        program = folder / name
        program.write_text(text.format(folder=folder) if name == "sbatch" else text)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_jobs_on_this_machine_end_with_their_exit_codes(tmp_path):
    launcher = Launcher(tmp_path / "jobs", Resources(), retries=1, parallel=2)
    shown = []
    commands = {"version": ["--version"], "wrong": ["resume", str(tmp_path / "none")]}
    jobs = launcher.run(commands, lambda jobs: shown.append([job.state for job in jobs]))
    assert [(job.state, job.code, job.attempts) for job in jobs] == [
        (DONE, 0, 1),
        (FAILED, errors.CHECKPOINT, 1),  # it would fail again
    ]
    assert "must be a run's directory" in jobs[1].last_line()
    assert "jax" in jobs[0].last_line()
    assert shown[0] == ["running", "running"]
    assert json.loads((tmp_path / "jobs" / JOBS_FILE).read_text()).keys() == commands.keys()
    assert not list(tmp_path.glob("jobs/*.pid"))


def test_job_that_fails_is_submitted_again(tmp_path):
    locked = tmp_path / "run"
    with lock_run(locked):  # exit code 7, which another attempt may not have
        (locked / "config.json").write_text("{}")
        launcher = Launcher(tmp_path / "jobs", Resources(), retries=1)
        jobs = launcher.run({"resume": ["resume", str(locked)]})
    assert [(job.state, job.code, job.attempts) for job in jobs] == [(FAILED, errors.LOCKED, 2)]


def test_slurm_job_asks_for_its_resources_and_runs(slurm, tmp_path):
    resources = Resources(
        "slurm",
        nodes=1,
        tasks_per_node=1,
        time=90,
        partition="gpu",
        gpus_per_node=2,
        cpus_per_task=4,
        memory=32,
        setup=("export LOADED=1",),
        options={"account": "me"},
    )
    jobs = Launcher(tmp_path / "jobs", resources).run({"version": ["--version"]})
    assert [(job.state, job.code, job.id) for job in jobs] == [(DONE, 0, "42")]
    lines = (slurm / "submitted.sh").read_text().splitlines()
    for line in (
        "#SBATCH --account=me",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --gpus-per-node=2",
        "#SBATCH --job-name=rnnlab",
        "#SBATCH --mem=32GB",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --partition=gpu",
        "#SBATCH --signal=USR2@120",
        "#SBATCH --time=90",
        "export LOADED=1",
    ):
        assert line in lines, line
    # A later call finds the job that has ended, and submits nothing.
    (slurm / "submitted.sh").unlink()
    again = Launcher(tmp_path / "jobs", resources).run({"version": ["--version"]})
    assert [job.state for job in again] == [DONE]
    assert not (slurm / "submitted.sh").exists()


def test_job_that_slurm_rejects_is_one_clear_line(slurm, tmp_path):
    (slurm / "sbatch").write_text('#!/bin/bash\necho "Invalid partition" >&2; exit 1\n')
    launcher = Launcher(tmp_path / "jobs", Resources("slurm", partition="none"))
    with pytest.raises(ValueError, match=r"slurm must accept the job version.*Invalid partition"):
        launcher.run({"version": ["--version"]})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["launch", "run", "adding"], "launch needs a command after --"),
        (["launch", "--"], "launch needs a command after --"),
        (["launch", "--", "launch", "--", "list"], "launch must launch another command"),
        (["launch", "--", "comprae", "runs"], "'comprae' is not a command; did you mean compare?"),
        (["launch", "--nodes", "2", "--", "list"], "nodes needs cluster slurm, got 2 with local"),
        (["launch", "--time", "0", "--", "list"], "time must be > 0, got 0; change --time"),
        (["launch", "--retries", "-1", "--", "list"], "retries must be >= 0, got -1"),
        (["launch", "--cluster", "slrum", "--", "list"], "slrum"),
        (["launch", "--cluster", "slurm", "--", "list"], "cluster slurm needs sbatch on the PATH"),
        (["launch", "--slurm", "account", "--", "list"], "--slurm must be NAME=VALUE"),
    ],
)
def test_launch_with_a_wrong_option_fails_in_one_line(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main.main(arguments) == errors.USAGE_ERROR
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_launch_without_submitit_names_the_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main.main(["launch", "--", "list"]) == errors.USAGE_ERROR
    assert "pip install 'rnnlab[launch]'" in capsys.readouterr().err


@pytest.mark.slow
def test_grid_on_this_machine_is_one_job_per_combination(experiment, tmp_path, capsys):
    out = tmp_path / "runs"
    command = ["launch", "--parallel", "2", "--", "run", experiment, "--out", str(out)]
    assert main.main([*command, "--train.steps", "2"]) == 0
    printed = capsys.readouterr()
    assert sorted(path.parent.name for path in out.glob("*/result.json")) == [
        "cell=gru,seed=0",
        "cell=mingru,seed=0",
    ]
    assert len(list(records.read(out / "results.jsonl"))) == 2
    assert (out / "curves.png").exists()
    assert "Next, with the best run" in printed.out
    assert "2 of 2 done" in printed.err
    assert main.main([*command, "--train.steps", "2"]) == 0  # no job: all are finished
    assert "running" not in capsys.readouterr().err


@pytest.mark.slow
def test_search_on_this_machine_is_one_job_per_worker(experiment, tmp_path, capsys):
    pytest.importorskip("optuna")
    out = tmp_path / "search"
    command = ["launch", "--", "search", experiment, "--model.cell", "mingru", "--workers", "2"]
    command += ["--space", "train.learning-rate=log:1e-3:1e-1", "--trials", "4"]
    assert main.main([*command, "--out", str(out), "--train.steps", "2"]) == 0
    assert "4 trials: 4 finished." in capsys.readouterr().out
    assert len(list(records.read(out / "results.jsonl"))) == 4


@pytest.mark.slow
def test_job_at_its_time_limit_continues_and_ctrl_c_saves_it(experiment, tmp_path):
    out = tmp_path / "runs"
    run = ["run", experiment, "--model.cell", "mingru", "--out", str(out)]
    run += ["--train.steps", "1000000", "--train.eval-every", "20"]
    words = [sys.executable, "-m", "rnnlab.cli.main", "launch", "--", *run]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(words, cwd=tmp_path, start_new_session=True, **pipes)
    jobs = out / "jobs"

    def log():
        return "".join(path.read_text() for path in jobs.glob("*_log.err"))

    def wait_for(text):
        end = time.monotonic() + 240
        while text not in log():
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < end, log()
            time.sleep(0.1)

    wait_for("saved step 20")
    (pid_file,) = jobs.glob("*.pid")
    child = int(pid_file.read_text())
    task = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(task, signal.SIGUSR2)  # as submitit does before the end of the time
    wait_for("resuming from step ")
    wait_for("stopped by SIGTERM")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 130, printed
    assert "the jobs have saved and ended" in printed
    assert log().count("stopped by SIGTERM") == 2
    assert not list(jobs.glob("*.pid"))
