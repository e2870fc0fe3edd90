"""Sessions and drawings from the training to a bundle, by the commands that a user types."""

import csv

import numpy as np
import pytest

from rnnlab.cli import main
from rnnlab.tasks.readers.strokes import write_strokes

EXPERIMENT = '''
"""Is this a question?

Command:  rnnlab run small.py
"""

from pathlib import Path

from rnnlab import Experiment, ModelConfig, Preset, {task}, TrainConfig

PRESETS = {{
    "cpu": Preset(
        Experiment(
            {task}({settings}, batch_size=4),
            ModelConfig(width=8, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None),
            TrainConfig(steps=4, eval_every=2, learning_rate=1e-2),
        ),
        {{"model.cell": ("mingru",)}},
    )
}}
'''


def succeed(*words):
    assert main.main(list(map(str, words))) == 0


def trained(folder, task, settings):
    """The directory of a trained run and its bundle."""
    file = folder / "small.py"
    file.write_text(EXPERIMENT.format(task=task, settings=settings), encoding="utf-8")
    succeed("run", file, "--out", folder / "runs")
    succeed("bundle", folder / "runs" / "cell=mingru,seed=0", "--out", folder / "bundle")
    return folder / "runs" / "cell=mingru,seed=0", folder / "bundle"


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.usefixtures("implicit_promotion", "quick_compile")
@pytest.mark.parametrize("loss", ["softmax", "bpr_max"])
def test_sessions_of_a_user_are_trained_bundled_and_recommended(tmp_path, capsys, loss):
    rows = [
        f"{k},{item},{60 * k + t}"
        for k in range(40)
        for t, item in enumerate("abca" if k % 2 else "cab")
    ]
    log = tmp_path / "log.csv"
    log.write_text("\n".join(["session,item,time", *rows]), encoding="utf-8")
    run, bundle = trained(tmp_path, "Sessions", f'Path("{log}"), loss="{loss}", negatives=2')
    printed = capsys.readouterr().out
    for text in ("test hit_rate_20", "test mrr_20", "similar sessions (baseline)"):
        assert text in printed
    new = tmp_path / "new.csv"
    new.write_text("session,item,time\nx,a,1\nx,b,2\n", encoding="utf-8")
    tables = []
    for name, folder in (("run", run), ("bundle", bundle)):
        out = tmp_path / f"{name}.csv"
        succeed("predict", folder, "--data.path", new, "--out", out)
        tables.append(read(out))
    assert tables[0] == tables[1]
    assert [row["rank"] for row in tables[0]] == ["1", "2", "3"]
    succeed("predict", run, "--out", tmp_path / "own.csv")
    assert {"actual", "hit"} <= read(tmp_path / "own.csv")[0].keys()
    succeed("inspect", run, "--out", tmp_path / "figures")


@pytest.mark.slow
@pytest.mark.usefixtures("implicit_promotion", "quick_compile")
def test_drawings_of_a_user_are_trained_bundled_and_sampled(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    drawings = [
        np.concatenate([rng.integers(-9, 9, (5, 2)), rng.integers(0, 2, (5, 1))], axis=1)
        for _ in range(40)
    ]
    write_strokes(tmp_path / "drawings.npz", drawings)
    settings = f'Path("{tmp_path / "drawings.npz"}"), components=2'
    run, bundle = trained(tmp_path, "Sketches", settings)
    printed = capsys.readouterr().out
    for text in ("test point_nats", "one normal distribution (baseline)"):
        assert text in printed
    monkeypatch.chdir(tmp_path)
    for folder, picture in ((run, run / "sketches.png"), (bundle, tmp_path / "sketches.png")):
        succeed("sample", folder, "--seed", 1)
        assert picture.stat().st_size > 1000
    tables = []
    for name, folder in (("run", run), ("bundle", bundle)):
        succeed("predict", folder, "--data.path", "drawings.npz", "--out", f"{name}.csv")
        tables.append(read(tmp_path / f"{name}.csv"))
    assert tables[0] == tables[1]
    assert len(tables[0]) == 40
    assert main.main(["sample", str(bundle), "--temperature", "-1"]) == 2
    assert "temperature must be >= 0" in capsys.readouterr().err
    succeed("inspect", run, "--out", tmp_path / "figures")
