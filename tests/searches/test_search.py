"""Searches that train: pruned, failed and diverged trials, signals, and resumed processes."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("optuna")

import rnnlab
from rnnlab import Adding, Experiment, ModelConfig, Range, TrainConfig, records
from rnnlab.cli import main
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.runs.signals import StopRequested, StopSignal
from rnnlab.searches.trial_files import read_trials, trial_folder
from rnnlab.train.callbacks import Reporter

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

SMALL = {"expansion": 1, "conv_kernel_size": None, "mlp_expansion": None}
EXPERIMENT = Experiment(
    Adding(length=4, batch_size=4, evaluation_size=8),
    ModelConfig(width=2, depth=1, **SMALL),
    TrainConfig(steps=6, eval_every=2, log_every=2),
)
SPACE = {"train.learning_rate": Range(1e-4, 1e-1, log=True)}
FILE = f'''
"""Is this a question?

Command:  rnnlab run small.py
"""

from rnnlab import Adding, Experiment, ModelConfig, Preset, TrainConfig

PRESETS = {{
    "cpu": Preset(
        Experiment(
            Adding(length=4, batch_size=4, evaluation_size=8),
            ModelConfig(width=2, depth=1, **{SMALL!r}),
            TrainConfig(steps=6, eval_every=2, log_every=2),
        )
    )
}}
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(FILE, encoding="utf-8")
    return str(path)


class Stops(StopSignal):
    """A signal that comes at a given number of evaluations."""

    def __init__(self, at):
        super().__init__()
        self.left = at

    def log(self, line):
        if line.startswith("step "):
            self.left -= 1
            if not self.left:
                self.number = signal.SIGTERM


def test_search_prunes_resumes_after_a_signal_and_repeats_no_trial(tmp_path):
    whole = rnnlab.search(tmp_path / "whole", EXPERIMENT, SPACE, trials=3, prune=True)
    states = {trial.number: trial.state for trial in whole.trials}
    assert states == {0: "finished", 1: "pruned", 2: "pruned"}

    out, stop = tmp_path / "stopped", Stops(3)
    options = {"trials": 3, "prune": True, "reporter": Reporter(log=stop.log)}
    policy = rnnlab.runs.resume_policy.ResumePolicy(stop_signal=stop)
    with pytest.raises(StopRequested):
        rnnlab.search(out, EXPERIMENT, SPACE, policy=policy, **options)
    assert [trial.state for trial in read_trials(out)] == ["running"]
    lines = []
    options["reporter"] = Reporter(log=lines.append)
    again = rnnlab.search(out, EXPERIMENT, SPACE, resume=True, **options)
    assert any(line.startswith("resuming from step ") for line in lines)
    assert [(t.number, t.state, t.value) for t in again.trials] == [
        (t.number, t.state, t.value) for t in whole.trials
    ]

    # A pruned run ends as pruned in its record, and every run has a record.
    results = list(records.read(out / "results.jsonl"))
    assert len(results) == 3
    assert {result["steps"] for result in results if result.get("pruned")} == {2}
    assert {result["steps"] for result in results if not result.get("pruned")} == {6}
    assert results[0]["grid"]["train.learning_rate"] == again.best.parameters["train.learning_rate"]
    before = [path.stat().st_mtime_ns for path in sorted(out.glob("*/result.json"))]
    rnnlab.search(out, EXPERIMENT, SPACE, trials=3, prune=True, resume=True)
    assert [path.stat().st_mtime_ns for path in sorted(out.glob("*/result.json"))] == before


def test_trial_that_diverges_or_whose_settings_do_not_fit_is_recorded_with_its_reason(tmp_path):
    train = replace(EXPERIMENT.train, spike_factor=1e-9, steps=200, eval_every=200, log_every=200)
    space = {"train.max_consecutive_skips": (0,)}
    found = rnnlab.search(tmp_path / "a", replace(EXPERIMENT, train=train), space, trials=1)
    assert [trial.state for trial in found.trials] == ["diverged"]
    with pytest.raises(ValueError, match="must have a finished trial, got none; trial 0: "):
        _ = found.best
    space = {"train.optimizer": ("adam",), "train.weight_decay": (0.1,)}  # each is valid
    found = rnnlab.search(tmp_path / "b", EXPERIMENT, space, trials=2)
    assert [trial.state for trial in found.trials] == ["failed"]
    assert "weight_decay must be 0 with optimizer 'adam'" in found.trials[0].reason


def test_search_command_writes_a_table_a_figure_and_what_compare_reads(file, tmp_path, capsys):
    out = tmp_path / "search"
    command = ["search", file, "--space", "train.learning-rate=log:1e-3:1e-1"]
    command += ["--space", "model.cell=mingru,gru", "--train.steps", "2", "--trials", "2"]
    command += ["--out", str(out)]
    assert main.main(command) == 0
    printed = capsys.readouterr().out
    for word in ("learning_rate", "finished", "valid mse", "Best: trial ", "rnnlab predict"):
        assert word in printed
    assert (out / "search.png").stat().st_size > 10_000
    assert main.main(["compare", str(out), "--out", str(tmp_path / "c.png")]) == 0
    assert "learning_rate" in capsys.readouterr().out
    assert main.main(["verify", str(out)]) == 0

    assert main.main(command) == rnnlab.errors.USAGE_ERROR
    assert "holds a search already; add --resume" in capsys.readouterr().err
    other = [*command, "--resume", "--train.steps", "4"]
    assert main.main(other) == rnnlab.errors.USAGE_ERROR
    assert "holds another search: train.steps must be 2, got 4" in capsys.readouterr().err
    assert main.main([*command, "--resume"]) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--space", "model.depth=1,2", "--trials", "0"], "trials must be >= 1, got 0"),
        (["--space", "model.depth=1,2", "--resume"], "--resume needs --out DIR"),
        (["--space", "model.depth=1,2", "--prune-after", "3"], "--prune-after needs --prune"),
        (["--space", "model.depth=1,2", "--model.widht", "3"], "did you mean 'width'"),
        (["--spcae", "model.depth=1,2"], "--spcae is not an option"),
    ],
)
def test_search_command_with_a_wrong_option_fails_in_one_line(file, flags, message, capsys):
    assert main.main(["search", file, *flags]) == rnnlab.errors.USAGE_ERROR
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_search_without_optuna_names_the_extra(file, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    command = ["search", file, "--space", "model.depth=1,2"]
    assert main.main(command) == rnnlab.errors.USAGE_ERROR
    assert "pip install 'rnnlab[search]'" in capsys.readouterr().err


def start(command, folder):
    words = [sys.executable, "-m", "rnnlab.cli.main", *command]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(words, cwd=folder, text=True, start_new_session=True, **pipes)


def ended(out):
    return [trial.number for trial in read_trials(out) if trial.has_ended] if out.exists() else []


def wait_for_trials(process, out, count):
    while len(ended(out)) < count and process.poll() is None:
        time.sleep(0.05)
    assert process.poll() is None, process.stdout.read()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_search_killed_in_the_middle_resumes_and_repeats_no_finished_trial(file, tmp_path, workers):
    out = tmp_path / "search"
    space = ["--space", "train.learning-rate=log:1e-3:1e-1", "--space", "model.width=2,4"]
    command = ["search", file, *space, "--trials", "12", "--out", str(out)]
    command += ["--train.steps", "60", "--workers", str(workers)]
    process = start(command, tmp_path)
    wait_for_trials(process, out, 4)
    # Workers have sessions of their own.
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *(map(int, children) if workers > 1 else ())):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    finished = {number: _times(out, number) for number in ended(out)}
    resumed = start([*command, "--resume"], tmp_path)
    printed, _ = resumed.communicate(timeout=600)
    assert resumed.returncode == 0, printed
    assert ended(out) == list(range(12))
    assert len(finished) >= 4
    assert {number: _times(out, number) for number in finished} == finished
    results = list(records.read(out / "results.jsonl"))
    assert len(results) == 12
    if workers == 1:
        whole = tmp_path / "whole"
        command[command.index("--out") + 1] = str(whole)
        uninterrupted = start(command, tmp_path)
        printed, _ = uninterrupted.communicate(timeout=600)
        assert uninterrupted.returncode == 0, printed
        assert [t.parameters for t in read_trials(whole)] == [
            t.parameters for t in read_trials(out)
        ]
        assert [t.value for t in read_trials(whole)] == [t.value for t in read_trials(out)]


def _times(out: Path, number: int) -> tuple[int, int]:
    """The times at which the result and the checkpoints of a trial were written."""
    folder = trial_folder(out, number)
    newest = max(path.stat().st_mtime_ns for path in (folder / "checkpoints").iterdir())
    return RunDirectory(folder).result.stat().st_mtime_ns, newest
