"""Users' cells and tasks, as `FILE.py:CLASS`, in every command that reads a run."""

import json
import sys
from pathlib import Path

import pytest

from rnnlab import errors, load_module
from rnnlab.cli import main

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

CELL = '''
from rnnlab import MinGRU


class MyCell(MinGRU):
    """A user's cell.

    Args:
      gain: factor of the outputs.
    """

    def __init__(self, in_features, features, *, rngs, gain: float = 1.0, **options):
        super().__init__(in_features, features, rngs=rngs, **options)
        self.gain = gain
'''
TASK = """
from dataclasses import dataclass

from rnnlab import Adding


@dataclass(frozen=True)
class MyTask(Adding):
    extra: int = 3
"""
EXPERIMENT = '''
"""Is this a question?"""

from my_task import MyTask

from rnnlab import Experiment, ModelConfig, Preset, TrainConfig

MODEL = ModelConfig(width=4, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None)
TASK = MyTask(length=4, batch_size=2, evaluation_size=2)
PRESETS = {"cpu": Preset(Experiment(TASK, MODEL, TrainConfig(steps=2)))}
'''
FLAGS = ["--model.cell", "my_cells.py:MyCell", "--model.gain", "2", "--out", "runs"]
RUN = Path("runs") / "cell=my_cells.py_MyCell,seed=0"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The working directory, with a user's cell, task and experiment."""
    for name, text in (("my_cells", CELL), ("my_task", TASK), ("experiment", EXPERIMENT)):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("my_cells", "my_task"):
        sys.modules.pop(name, None)


def test_run_of_user_code_is_read_by_every_command(project, monkeypatch, capsys):
    assert main.main(["run", "experiment.py", *FLAGS]) == 0
    settings = json.loads((RUN / "config.json").read_text(encoding="utf-8"))
    assert settings["task"] == "my_task.py:MyTask"
    assert settings["data"]["extra"] == 3
    assert settings["model"]["cell"] == "my_cells.py:MyCell"
    assert settings["model"]["gain"] == 2.0
    sources = json.loads((RUN / "environment.json").read_text(encoding="utf-8"))["sources"]
    assert set(sources) == {"my_cells.py", "my_task.py"}
    # The same run again is recognized, and is found from another directory.
    assert main.main(["run", "experiment.py", *FLAGS]) == 0
    monkeypatch.chdir(project / "other")
    for command in (["resume", "--from-step", "0"], ["verify"], ["inspect"], ["compare"]):
        assert main.main([command[0], str(project / RUN), *command[1:]]) == 0, command
    assert "MyCell" in capsys.readouterr().out


def test_changed_or_missing_user_code_is_refused(project, capsys):
    assert main.main(["run", "experiment.py", *FLAGS]) == 0
    (project / "my_cells.py").write_text(CELL + "\nraise SystemExit  # not executed\n")
    capsys.readouterr()
    for command in ("resume", "verify", "inspect"):
        assert main.main([command, str(RUN)]) == errors.CHECKPOINT
        assert "my_cells.py, which the run uses, has changed" in capsys.readouterr().err
    (project / "my_cells.py").unlink()
    assert main.main(["resume", str(RUN)]) == errors.CHECKPOINT
    assert "my_cells.py, which the run uses, is missing; restore" in capsys.readouterr().err


def test_data_flag_chooses_a_task(project, capsys):
    flags = ["--data", "my_task.py:MyTask", "--data.length", "4", "--data.batch-size", "2"]
    flags += ["--data.evaluation-size", "2", "--data.extra", "5", "--train.steps", "1"]
    assert main.main(["run", "experiment.py", *flags, "--out", "runs"]) == 0
    settings = json.loads(next(Path("runs").glob("*/config.json")).read_text(encoding="utf-8"))
    assert settings["task"] == "my_task.py:MyTask"
    assert settings["data"]["extra"] == 5
    capsys.readouterr()
    assert main.main(["run", "experiment.py", "--data", "Nothing"]) == errors.USAGE_ERROR
    assert "task 'Nothing' is unknown; choose one of Adding, " in capsys.readouterr().err
    assert main.main(["run", "experiment.py", "--data", "my_cells.py:MyCell"]) == errors.USAGE_ERROR
    assert "must be a frozen dataclass with a method load(seed)" in capsys.readouterr().err


def test_help_shows_the_options_of_the_users_cell(project, capsys):
    with pytest.raises(SystemExit):
        main.main(["run", "experiment.py", "--model.cell", "my_cells.py:MyCell", "--help"])
    printed = capsys.readouterr().out
    assert "--model.gain" in printed
    assert "factor of the outputs" in printed


def test_reference_to_local_class_is_refused():
    class Local:
        pass

    with pytest.raises(ValueError, match=r"must be defined at the top level of a \.py file"):
        load_module.reference_to(Local)


def test_module_of_unchanged_file_is_loaded_once(project):
    path = Path("my_cells.py")
    first = load_module.load_class("my_cells.py:MyCell", "a cell")
    assert load_module.load_class(str(path.resolve()) + ":MyCell", "a cell") is first
    assert load_module.reference_to(first) == "my_cells.py:MyCell"
    path.write_text(CELL + "\n")
    assert load_module.load_class("my_cells.py:MyCell", "a cell") is not first
    with pytest.raises(ValueError, match=r"my_cells.py must define a class 'Other'"):
        load_module.load_class("my_cells.py:Other", "a cell")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def f(): pass\nMyCell = f\n", "my_cells.py must define a class 'MyCell'"),
        ("class MyCell: pass\n", "must be a flax.nnx.Module with initial_carry"),
        (CELL.replace(", **options):", "):"), "unexpected keyword argument"),
        (CELL.replace("= 1.0", ""), "missing a required argument: 'gain'"),
        (CELL + "        raise RuntimeError('boom')\n", "my_cells.py, line 15: RuntimeError: boom"),
        (CELL + "    def __call__(self, *a, **k): 1 / 0\n", "my_cells.py, line 15: ZeroDivision"),
    ],
)
def test_cell_with_error_is_usage_error_that_names_it(project, capsys, code, message):
    (project / "my_cells.py").write_text(code, encoding="utf-8")
    flags = [flag for flag in FLAGS if flag not in ("--model.gain", "2")]
    assert main.main(["run", "experiment.py", *flags]) == errors.USAGE_ERROR
    error = capsys.readouterr().err
    assert message in error
    assert "bug in rnnlab" not in error


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("        return 1\n", "Task.load must return a TaskData, got 1"),
        ("        raise KeyError('boom')\n", "task.py, line 8: KeyError: 'boom'"),
        ("        return 1\n    extra: 'Missing' = 1\n", "annotations that exist at run time"),
    ],
)
def test_task_with_error_is_usage_error_that_names_it(project, capsys, code, message):
    text = "@dataclass(frozen=True)\nclass Task:\n    size: int = 1\n    def load(self, seed):\n"
    text = "from dataclasses import dataclass\n\n\n" + text + code
    (project / "task.py").write_text(text, encoding="utf-8")
    assert main.main(["run", "experiment.py", "--data", "task.py:Task"]) == errors.USAGE_ERROR
    assert message in capsys.readouterr().err
