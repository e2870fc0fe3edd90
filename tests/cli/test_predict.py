"""`rnnlab predict`: tables and figures of trained runs, and one line for what does not fit."""

import csv

import numpy as np
import pytest

from rnnlab import Experiment, ModelConfig, SelectiveCopying, TrainConfig
from rnnlab.cli import main
from rnnlab.runs.api import run
from rnnlab.runs.trained_model import load
from rnnlab.train.callbacks import Reporter


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_predict_of_a_text_run_writes_its_test_part(trained_run, tmp_path, capsys):
    out = tmp_path / "table.csv"
    assert main.main(["predict", str(trained_run), "--out", str(out)]) == 0
    rows = read(out)
    assert len(rows) == 60
    printed = capsys.readouterr().out
    assert "is right for" in printed
    assert f"Written: {out}" in printed


@pytest.mark.parametrize("name", ["table.csv", "table.png"])
def test_predict_replaces_only_its_own_files(trained_run, tmp_path, capsys, name):
    out = tmp_path / "table.csv"
    (tmp_path / name).write_text("date,sales\n")
    assert main.main(["predict", str(trained_run), "--out", str(out)]) == 2
    assert f"{name} " in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["date,sales\n"]
    (tmp_path / name).unlink()
    for _ in range(2):
        assert main.main(["predict", str(trained_run), "--out", str(out)]) == 0


def test_predict_in_python_of_a_text_accepts_strings(trained_run):
    trained = load(str(trained_run))
    predicted = trained.predict("abcabc")
    assert len(predicted) == 5  # nothing precedes the first symbol
    assert predicted.to_csv().count("\n") == 6


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--out", "table.txt"], 2, "table.txt is not a name of a table; give a file that ends in"),
        (["--data.path", "none.txt"], 3, "none.txt: "),
        (["--horizon", "3"], 2, "horizon"),
    ],
)
def test_predict_with_unusable_options_is_one_line(trained_run, words, code, message, capsys):
    assert main.main(["predict", str(trained_run), *words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(trained_run.glob("predictions*"))


@pytest.mark.usefixtures("implicit_promotion")
def test_predict_of_generated_data_names_the_answers_of_the_test_part(tmp_path):
    small = ModelConfig(width=4, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None)
    task = SelectiveCopying(length=8, tokens=2, batch_size=2, evaluation_size=4)
    config = TrainConfig(steps=1, eval_every=1, log_every=1)
    result = run(tmp_path / "run", Experiment(task, small, config), Reporter())
    trained = load(tmp_path / "run")
    columns = trained.predict().columns
    assert (columns["actual"] != "").all()
    right = columns["predicted"] == columns["actual"]
    assert np.mean(right) == pytest.approx(result["metrics"]["test"]["accuracy"])
    with pytest.raises(ValueError, match="generates its data and cannot read other data"):
        trained.predict("x")
