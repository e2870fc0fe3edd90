"""`rnnlab inspect`: its table, its figures, its one-line errors."""

import re
import shutil

import numpy as np
import pytest
from flax import nnx

from rnnlab import errors
from rnnlab.cli import main
from rnnlab.cli.inspect import Selected, _prediction, _without_padding
from rnnlab.heads import LinearChain
from rnnlab.models.config import ModelConfig
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.data import TaskData

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

EXPERIMENT = """
from pathlib import Path

from rnnlab import Experiment, ModelConfig, Preset, Sequences, TrainConfig

PRESETS = {{
    "cpu": Preset(
        Experiment(
            Sequences(Path("{data}"), batch_size=8),
            ModelConfig(
                "mingru", width=4, depth=1, expansion=1, mlp_expansion=None,
                conv_kernel_size=None, bidirectional=True, readout="mean",
            ),
            TrainConfig(steps=1),
        ),
    )
}}
"""


def test_inspect_with_a_text_draws_every_layer(trained_runs, tmp_path, capsys):
    run, out = trained_runs / "cell=mingru+transformer,seed=0", tmp_path / "figures"
    assert main.main(["inspect", str(run), "--text", "abca bc", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for word in ("layer 1", "MinGRU", "layer 2", "Attention", "Lyapunov", "7 time steps"):
        assert word in printed
    assert "The given text, time steps 0 to 6. Prediction at time step 6: predicted '" in printed
    names = {"gradient_flow", "memory", "gates_layer_1", "trajectory", "attribution"}
    names |= {"attention_layer_2"}
    assert {p.stem for p in out.iterdir()} == names
    assert all(p.stat().st_size > 5_000 for p in out.iterdir())


def test_inspect_without_a_text_reads_the_data_of_the_run(trained_run, tmp_path, capsys):
    run = shutil.copytree(trained_run, tmp_path / trained_run.name)
    assert main.main(["inspect", str(run)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "text.txt, test set: sequence 0 (counted from 0), time steps 0 to " in printed
    assert re.search(r"predicted '.' \(probability 0\.\d+\), target '.'", printed)
    assert (run / "inspect" / "gates_layer_1.png").exists()


@pytest.mark.slow  # trains a run of its own; test_directions.py has the figures
def test_inspect_of_a_bidirectional_run_draws_both_directions(tmp_path, capsys):
    rng = np.random.default_rng(0)
    data = tmp_path / "data.npz"
    inputs, targets = rng.normal(size=(20, 5, 2)), np.arange(20) % 2
    np.savez(data, inputs=inputs.astype(np.float32), targets=targets.astype(np.int32))
    file, run = tmp_path / "small.py", tmp_path / "run"
    file.write_text(EXPERIMENT.format(data=data), encoding="utf-8")
    assert main.main(["run", str(file), "--out", str(run)]) == 0
    assert main.main(["inspect", str(run), "--sequence", "1", "--out", str(tmp_path / "out")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "data.npz, test set: sequence 1 (counted from 0), in its file " in printed
    assert "Prediction at time step 4: predicted class " in printed
    assert "it reads whole sequences and has no step for streaming" in printed
    names = {path.stem for path in (tmp_path / "out").iterdir()}
    assert {"gradient_flow", "gates_layer_1_forward", "gates_layer_1_backward"} < names


RECORDS_EXPERIMENT = """
from pathlib import Path

from rnnlab import Experiment, IrregularRecords, ModelConfig, Preset, TrainConfig

PRESETS = {{
    "cpu": Preset(
        Experiment(
            IrregularRecords(Path("{events}"), Path("{labels}"), batch_size=8),
            ModelConfig(
                "mingru", width=8, depth=1, expansion=1, mlp_expansion=None,
                conv_kernel_size=None, options={{"gap_decay": True}},
            ),
            TrainConfig(steps=1),
        ),
    )
}}
"""


@pytest.mark.slow  # trains a run of its own; tests/analysis/test_gaps.py has the figures
def test_inspect_of_a_run_with_gap_decay_reads_the_gaps(tmp_path, capsys):
    rng = np.random.default_rng(0)
    events, labels = tmp_path / "events.csv", tmp_path / "labels.csv"
    lines = [
        f"{k},{t + rng.random():.3f},HR,{60 + k + t}" for k in range(40) for t in range(4 + k % 9)
    ]
    events.write_text("\n".join(["id,time,variable,value", *lines]), encoding="utf-8")
    rows = [f"{k},{'fast' if k > 19 else 'slow'}" for k in range(40)]
    labels.write_text("\n".join(["id,label", *rows]), encoding="utf-8")
    file, run = tmp_path / "small.py", tmp_path / "run"
    file.write_text(RECORDS_EXPERIMENT.format(events=events, labels=labels), encoding="utf-8")
    assert main.main(["run", str(file), "--out", str(run)]) == 0
    assert main.main(["inspect", str(run), "--out", str(tmp_path / "out")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Prediction at time step 11: predicted " in printed
    assert {"gradient_flow", "memory", "gates_layer_1", "trajectory", "attribution"} == {
        path.stem for path in (tmp_path / "out").iterdir()
    }


def test_gaps_of_a_sequence_end_at_a_reset_and_go_to_models_that_use_them():
    gaps, reset = np.array([[0, 1, 2, 0, 3]], np.float32), np.zeros((1, 5), bool)
    reset[0, 3] = True
    inputs, targets = np.zeros((1, 5, 2), np.float32), np.zeros((1, 5), np.int32)
    batch = Batch(inputs, targets, reset=reset, gaps=gaps)
    example = _without_padding(batch, 0, 5)
    assert example.gaps.tolist() == [0, 1, 2]
    selected = Selected(example.inputs, example.targets, "file", example.gaps)
    models = [
        ModelConfig(width=4, depth=1, options=options).build(2, in_features=2, rngs=nnx.Rngs(0))
        for options in ({"gap_decay": True}, {})
    ]
    assert selected.read_by(models[0], 1, 3)[1].tolist() == [1, 2]
    assert selected.read_by(models[1], 1, 3)[1] is None


def test_labels_are_targets_of_no_time_step():
    batch = Batch(np.zeros((1, 5), np.int32), None, labels=np.array([[2, 1]], np.int32))
    example = _without_padding(batch, 0, 3)
    selected = Selected(example.inputs, example.targets, "file")
    assert selected.is_scored.tolist() == [False] * 3


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["--text", "a"], "text must have at least 2 symbols, got 1", errors.USAGE_ERROR),
        (["--text", "abz"], "got 'z' at index 2", errors.DATA),
        (["--text", "abc", "--time-step", "3"], "time_step must be in 0 to 2", errors.USAGE_ERROR),
        (["--text", "abc", "--sequence", "0"], "omit one of them", errors.USAGE_ERROR),
        (["--sequence", "1000000"], "sequence must be in 0 to ", errors.USAGE_ERROR),
    ],
)
def test_inspect_of_an_invalid_input_is_refused(options, message, code, trained_run, capsys):
    assert main.main(["inspect", str(trained_run), *options]) == code
    assert message in capsys.readouterr().err
    assert not (trained_run / "inspect").exists()


def test_inspect_of_a_directory_without_a_run_names_it(tmp_path, capsys):
    assert main.main(["inspect", str(tmp_path)]) == errors.CHECKPOINT
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("loss", "outputs", "target", "output", "text"),
    [
        ("categorical", [0.0, 2.0], 0, 1, "predicted class 1 (probability 0.881), target class 0"),
        ("categorical", [0.0, 2.0], -1, 1, "predicted class 1 (probability 0.881), no target"),
        (
            "binary",
            [0.0, 2.0],
            [1.0, 1.0],
            1,
            "most probable label 1 (probability 0.881), target labels 0 1",
        ),
        (
            "squared",
            [0.25, 2.0],
            [np.nan, 1.5],
            1,
            "predicted value 1: 2, target 1.5 (standardized; 1 is 10 in the data's unit)",
        ),
        ("squared", [0.25, 2.0], [np.nan, np.nan], 0, "predicted value 0: 0.25, no target"),
        (
            LinearChain(2),
            [0.0, 0.0, 2.0, 1.0],
            1,
            2,
            "highest score: class 0 after class 1, target class 1",
        ),
    ],
)
def test_prediction_is_named_with_its_target(loss, outputs, target, output, text):
    data = TaskData(loss, ("mse",), 2, None, {}, dict, target_scale=10.0)
    dtype = np.float32 if loss in ("binary", "squared") else np.int32
    selected = Selected(np.zeros((1, 2)), np.array([target], dtype), "file")
    found = _prediction(data, selected, np.array(outputs), 0)
    assert (found.step, found.output) == (0, output)
    assert found.text.startswith(text)
