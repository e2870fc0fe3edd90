"""`rnnlab inspect`: its table, its pictures, its one-line errors."""

import pytest

from rnnlab import errors
from rnnlab.cli import main

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")


def run(experiment, out, *flags):
    assert main.main(["run", experiment, "--out", str(out), *flags]) == 0
    (folder,) = (p for p in out.iterdir() if p.is_dir())
    return folder


def test_a_run_of_text_is_drawn(experiment, tmp_path, capsys):
    cells = ["--model.cell", "mingru+transformer", "--model.depth", "2", "--model.width", "8"]
    folder = run(experiment, tmp_path / "runs", *cells)
    out = tmp_path / "pictures"
    capsys.readouterr()
    assert main.main(["inspect", str(folder), "--text", "abca bc", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for word in ("layer 1", "MinGRU", "layer 2", "Attention", "Lyapunov", "7 time steps"):
        assert word in printed
    names = {"gradient_flow", "memory", "gates_layer_1", "trajectory", "attribution"}
    names |= {"attention_layer_2"}
    assert {p.stem for p in out.iterdir()} == names
    assert all(p.stat().st_size > 5_000 for p in out.iterdir())


def test_without_a_text_the_runs_own_data_is_read(experiment, tmp_path, capsys):
    folder = run(experiment, tmp_path / "runs", "--model.cell", "gru")
    capsys.readouterr()
    assert main.main(["inspect", str(folder)]) == 0
    assert "8 time steps" in capsys.readouterr().out
    assert (folder / "inspect" / "gates_cell.png").exists() is False
    assert (folder / "inspect" / "gates_layer_1.png").exists()


@pytest.mark.parametrize(
    ("text", "said", "code"),
    [("a", "text has 1 symbols; at least 2 are needed", 2), ("abz", "'z' at place 2", 3)],
)
def test_a_text_that_cannot_be_read_is_refused(text, said, code, experiment, tmp_path, capsys):
    folder = run(experiment, tmp_path / "runs", "--model.cell", "gru")
    capsys.readouterr()
    assert main.main(["inspect", str(folder), "--text", text]) == code
    assert said in capsys.readouterr().err
    assert not (folder / "inspect").exists()


def test_a_folder_without_a_run_is_named(tmp_path, capsys):
    assert main.main(["inspect", str(tmp_path)]) == errors.CHECKPOINT
    assert str(tmp_path) in capsys.readouterr().err
