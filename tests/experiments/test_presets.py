"""Experiment files: their docstrings and presets, and a user's series in one command."""

import ast
import json
import math
from pathlib import Path

import pytest

from rnnlab import errors
from rnnlab.cli import main
from rnnlab.models.building import require_buildable
from rnnlab.runs import serialization
from rnnlab.runs.api import load_model_config
from rnnlab.runs.grid import grid, load_presets, run_name

EXPERIMENTS = Path(__file__).parents[2] / "experiments" / "training"
FILES = sorted(p for p in EXPERIMENTS.glob("*.py") if "PRESETS = " in p.read_text(encoding="utf-8"))


def test_expected_experiments_exist():
    names = {path.stem for path in FILES}
    assert names >= {"char_lm", "selective_copying", "formal_languages", "listops", "mqar"}
    assert names >= {"adding", "copy_memory", "sequential_digits", "vowels", "forecasting"}
    assert names >= {"chorales", "context_length", "data_efficiency", "parity"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_docstring_of_an_experiment_is_complete(path):
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert doc.splitlines()[0].endswith("?")
    for part in ("Device:", "Expected:", "Paper:"):
        assert part in doc
    assert f"Command:  rnnlab run experiments/training/{path.name} --preset cpu" in doc


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_presets_of_an_experiment_are_stored_and_built(path):
    presets = load_presets(path)
    assert "cpu" in presets
    for preset in presets.values():
        names, built = set(), set()
        for varied in grid(preset.grid):
            experiment = preset.override(varied)
            names.add(run_name(varied))
            for part in (experiment.data, experiment.train):
                stored = json.loads(json.dumps(serialization.dump(part)))
                assert serialization.load(type(part), stored) == part
            stored = json.loads(json.dumps(serialization.dump(experiment.model.settings())))
            assert load_model_config(stored, "model") == experiment.model
            if experiment.model in built:
                continue
            built.add(experiment.model)
            require_buildable(experiment.model)  # only shapes: the published models are large
        assert len(names) == math.prod(map(len, preset.grid.values()))


@pytest.mark.usefixtures("implicit_promotion", "quick_compile")
def test_series_of_a_user_with_gaps_is_forecast(tmp_path, capsys):
    lines = ["day,shop,sales"]
    for day in range(150):
        if day % 31 == 30:
            continue  # a missing date
        value = "" if day % 17 == 5 else f"{100 + day / 10 + 20 * (day % 7 == 6):.1f}"
        lines.append(f"2024-{1 + day // 28:02d}-{1 + day % 28:02d},north,{value}")
    file = tmp_path / "sales.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    flags = ["--data.path", str(file), "--data.column", "sales", "--data.horizon", "3"]
    flags += ["--data.length", "28", "--model.cell", "mingru", "--model.width", "4"]
    flags += ["--train.steps", "4", "--train.eval-every", "2", "--seeds", "0"]
    out = ["--out", str(tmp_path / "runs")]
    assert main.main(["run", str(EXPERIMENTS / "forecasting.py"), *flags, *out]) == 0
    printed = capsys.readouterr().out
    for heading in ("test rmse", "test mae", "seasonal naive (baseline)"):
        assert heading in printed
    assert main.main(["run", str(EXPERIMENTS / "forecasting.py"), *flags[:2], *out]) == errors.DATA
    assert f"rnnlab: error: {file}" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("implicit_promotion", "quick_compile")
def test_event_table_of_a_user_is_classified(tmp_path, capsys):
    lines, labels = ["id,time,variable,value"], ["id,label"]
    for k in range(60):
        lines += [f"{k},{t * (1 + k % 3)},HR,{70 + 20 * (k % 2) + t}" for t in range(1 + k % 4)]
        labels.append(f"{k},{'died' if k % 2 else 'alive'}")
    (tmp_path / "events.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "labels.csv").write_text("\n".join(labels), encoding="utf-8")
    experiment = ["run", str(EXPERIMENTS / "icu_mortality.py")]
    flags = ["--data.path", str(tmp_path / "events.csv"), "--data.batch-size", "8"]
    flags += ["--model.cell", "mingru", "--model.gap-decay", "True", "--model.width", "4"]
    flags += ["--train.steps", "2", "--train.eval-every", "2", "--seeds", "0"]
    flags += ["--out", str(tmp_path / "runs")]
    flags += ["--model.input-decay", "True"]
    named = ["--data.labels", str(tmp_path / "labels.csv")]
    assert main.main([*experiment, *flags, *named]) == 0
    printed = capsys.readouterr().out
    for heading in ("test roc_auc", "boosted trees (baseline)"):
        assert heading in printed
    assert main.main([*experiment, *flags]) != 0
    assert "labels must be given with an event table" in capsys.readouterr().err
