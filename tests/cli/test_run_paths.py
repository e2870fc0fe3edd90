"""Experiments by name, runs by the directory above them, and the link to the latest runs."""

import json
import os
from pathlib import Path

import pytest

from rnnlab import errors
from rnnlab.cli import main, progress_bar
from rnnlab.errors import CheckpointError
from rnnlab.runs.grid import run_directory, run_name
from rnnlab.runs.locate import find_run, link_latest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def in_checkout(tmp_path, monkeypatch):
    """A working directory with the shipped experiments."""
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_experiment_is_found_by_its_name(in_checkout, capsys):
    with pytest.raises(SystemExit) as stopped:
        main.main(["run", "char_lm", "--help"])
    assert not stopped.value.code
    assert "--model.width" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("charlm", "is not a file; did you mean `rnnlab run char_lm`?"),
        ("experiments/charlm.py", "is not a file; did you mean `rnnlab run char_lm`?"),
        ("gradients", "its command is `python experiments/studies/gradients.py`"),
        ("speedup", "its command is `rnnlab speedup --out experiments/results/speedup`"),
        ("nothing_like_it", "must be an experiment (`rnnlab list` shows them)"),
    ],
)
def test_experiment_that_does_not_exist_is_refused_with_advice(in_checkout, capsys, name, advice):
    assert main.main(["run", name]) == errors.USAGE_ERROR
    printed = capsys.readouterr().err
    assert f"{name} is not a" in printed
    assert advice in printed
    assert not (in_checkout / "runs").exists()


def test_list_shows_the_command_of_each_experiment_at_80_columns(in_checkout, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main.main(["list"]) == 0
    printed = capsys.readouterr().out
    for path in Path("experiments/training").glob("*.py"):
        assert f"rnnlab run {path.stem} " in printed
    # What another program runs is not shown.
    assert main.main(["list", "--folder", "experiments"]) == 0
    printed = capsys.readouterr().out
    assert "rnnlab run char_lm" in printed
    assert "gpu" not in printed


def make_run(path):
    path.mkdir(parents=True)
    (path / "config.json").touch()
    return path


def test_find_run_accepts_the_directory_above_a_single_run(tmp_path):
    run = make_run(tmp_path / "runs" / "cell=mingru,seed=0")
    assert find_run(run) == find_run(run.parent) == run
    assert find_run(tmp_path / "none") == tmp_path / "none"
    other = make_run(tmp_path / "runs" / "cell=gru,seed=0")
    named = rf"2 runs: cell=gru,seed=0, cell=mingru,seed=0; name one of them, as in {other}$"
    with pytest.raises(CheckpointError, match=named):
        find_run(run.parent)
    (other / "result.json").touch()
    with pytest.raises(CheckpointError, match=rf"as in {run}$"):  # the one that is not finished
        find_run(run.parent)
    assert find_run(other) == other


def test_run_directory_does_not_depend_on_the_order_of_flags(tmp_path):
    settings = {"train.seed": 0, "model.width": 8, "model.cell": "gru", "data.length": 2}
    named = tmp_path / "cell=gru,length=2,width=8,seed=0"
    assert run_directory(tmp_path, settings) == named
    assert run_name(dict(sorted(settings.items()))) == named.name
    # Earlier versions named the settings in the order of the flags.
    earlier = make_run(tmp_path / "seed=0,width=8,cell=gru,length=2")
    (make_run(tmp_path / "a") / "config.json").write_text("[corrupt")
    assert run_directory(tmp_path, settings) == named
    (earlier / "config.json").write_text(json.dumps({"grid": settings}))
    assert run_directory(tmp_path, settings) == earlier
    assert run_directory(tmp_path, settings | {"train.seed": 1}).name.endswith("seed=1")
    make_run(named)
    assert run_directory(tmp_path, settings) == named


def test_link_latest_follows_the_last_runs_and_spares_other_files(tmp_path):
    runs = [tmp_path / "char_lm" / name for name in ("1", "2")]
    for out in runs:
        out.mkdir(parents=True)
        link_latest(out)
        assert (tmp_path / "latest").resolve() == out.resolve()
    assert os.readlink(tmp_path / "latest") == os.path.join("char_lm", "2")
    assert {p.name for p in tmp_path.iterdir()} == {"char_lm", "latest"}
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").mkdir()
    link_latest(runs[0])
    assert not (tmp_path / "latest").is_symlink()


@pytest.mark.usefixtures("implicit_promotion", "quick_compile")
def test_run_without_a_terminal_prints_losses_and_is_the_latest(
    experiment, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress_bar, "SECONDS_PER_LINE", 0)
    assert main.main(["run", experiment, "--model.cell", "mingru"]) == 0
    printed = capsys.readouterr().err
    assert "step 1 of 4: loss " in printed
    assert "step 4 of 4: loss " in printed
    assert Path("runs/latest").resolve().parent == (tmp_path / "runs" / "small").resolve()
    assert main.main(["sample", "runs/latest", "--length", "3", "--prompt", "a"]) == 0


@pytest.mark.usefixtures("implicit_promotion")
@pytest.mark.parametrize(("value", "remat"), [("True", True), ("false", False)])
def test_boolean_option_accepts_a_value(experiment, value, remat):
    from rnnlab.cli.experiment_flags import experiments
    from rnnlab.runs.grid import load_presets

    preset = load_presets(Path(experiment))["cpu"]
    flags = ["--model.cell", "mingru", "--model.remat", value]
    ((found, _),) = experiments(preset, flags)
    assert found.model.remat is remat
