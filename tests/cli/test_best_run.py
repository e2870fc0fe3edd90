"""The best of several runs, for commands on one model."""

import json
from pathlib import Path

import pytest
from cli.results import result

from rnnlab.cli import main
from rnnlab.cli.best_run import best_run, choose_run
from rnnlab.errors import CheckpointError


def evaluated(value, test=0.0, metric="nll", **model):
    found = result(test, metric=metric, **model)
    found["metrics"]["valid"][metric] = value
    return found


def test_best_run_is_the_best_on_validation_not_on_test():
    a, b, c = map(Path, "abc")
    losses = [(evaluated(2.0, 1.0), a), (evaluated(1.5, 9.0), b), (evaluated(None), c)]
    assert best_run(losses) == (b, "valid nll 1.5000")
    accuracies = [(evaluated(x, metric="accuracy"), Path(str(x))) for x in (0.5, 0.75)]
    assert best_run(accuracies) == (Path("0.75"), "valid accuracy 0.7500")
    assert best_run([]) is best_run([(evaluated(float("nan")), a)]) is None
    assert best_run([losses[0], (evaluated(1.0, data={"length": 8}), b)]) is None
    assert best_run([losses[0], accuracies[0]]) is None


def test_command_on_a_directory_of_runs_takes_the_best_and_names_it(trained_runs, tmp_path, capsys):
    results = {
        run: json.loads((run / "result.json").read_text()) for run in trained_runs.glob("*=*")
    }
    wanted = min(results, key=lambda run: results[run]["metrics"]["valid"]["nll"])
    assert len(results) == 2
    table = tmp_path / "a.csv"
    assert main.main(["predict", str(trained_runs), "--out", str(table)]) == 0
    assert table.exists()
    assert f"Using {wanted}, the best of 2 runs by valid nll " in capsys.readouterr().err


def test_runs_of_which_none_is_finished_are_refused_with_a_path_to_copy(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").touch()
    with pytest.raises(CheckpointError, match=rf"as in {tmp_path / 'a'}$"):
        choose_run(tmp_path)
