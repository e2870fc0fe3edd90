"""`rnnlab inspect`: its table, its figures, its one-line errors."""

import shutil

import pytest

from rnnlab import errors
from rnnlab.cli import main

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")


def test_inspect_with_a_text_draws_every_layer(trained_runs, tmp_path, capsys):
    run, out = trained_runs / "cell=mingru+transformer,seed=0", tmp_path / "figures"
    assert main.main(["inspect", str(run), "--text", "abca bc", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for word in ("layer 1", "MinGRU", "layer 2", "Attention", "Lyapunov", "7 time steps"):
        assert word in printed
    names = {"gradient_flow", "memory", "gates_layer_1", "trajectory", "attribution"}
    names |= {"attention_layer_2"}
    assert {p.stem for p in out.iterdir()} == names
    assert all(p.stat().st_size > 5_000 for p in out.iterdir())


def test_inspect_without_a_text_reads_the_data_of_the_run(trained_run, tmp_path, capsys):
    run = shutil.copytree(trained_run, tmp_path / trained_run.name)
    assert main.main(["inspect", str(run)]) == 0
    assert "8 time steps" in capsys.readouterr().out
    assert (run / "inspect" / "gates_layer_1.png").exists()


@pytest.mark.parametrize(
    ("text", "message", "code"),
    [
        ("a", "text must have at least 2 symbols, got 1", errors.USAGE_ERROR),
        ("abz", "got 'z' at index 2", errors.DATA),
    ],
)
def test_inspect_with_an_invalid_text_is_refused(text, message, code, trained_run, capsys):
    assert main.main(["inspect", str(trained_run), "--text", text]) == code
    assert message in capsys.readouterr().err
    assert not (trained_run / "inspect").exists()


def test_inspect_of_a_directory_without_a_run_names_it(tmp_path, capsys):
    assert main.main(["inspect", str(tmp_path)]) == errors.CHECKPOINT
    assert str(tmp_path) in capsys.readouterr().err
