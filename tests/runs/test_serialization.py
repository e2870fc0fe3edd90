"""Settings survive JSON, and anything else in a file is an error that names it."""

import dataclasses
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from rnnlab.legacy_names import current_record
from rnnlab.models.config import ModelConfig
from rnnlab.runs import serialization
from rnnlab.runs.api import load_model_config
from rnnlab.tasks import TASKS
from rnnlab.train.config import TrainConfig


@dataclass(frozen=True)
class Example:
    path: Path | None = None
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[int, float] = (1, 2.0)


def round_trip(value):
    return serialization.load(type(value), json.loads(json.dumps(serialization.dump(value))))


@pytest.mark.parametrize(
    "value",
    [
        Example(),
        Example(Path("a/b"), (), (3, 0.5)),
        TrainConfig(steps=3, grad_clip_norm=None, patience=2),
    ],
)
def test_settings_survive_a_round_trip(value):
    assert round_trip(value) == value


@pytest.mark.parametrize("name", TASKS)
def test_every_task_survives_a_round_trip(name):
    task = TASKS[name]
    required = {"path": Path("music.mat")} if name == "Chorales" else {}
    value = replace(task(**required), batch_size=3)
    assert round_trip(value) == value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"setps": 3}, "train.setps is unknown"),
        ({"steps": "3"}, "train.steps must be int, got '3'"),
        ({"steps": True}, "train.steps must be int, got True"),
        ({"steps": False}, "train.steps must be int, got False"),
        ({"steps": 2.5}, "train.steps must be int, got 2.5"),
        ({"optimizer": "sgd"}, "train.optimizer must be one of"),
        ({"weight_decay_gates": 1}, "train.weight_decay_gates must be bool, got 1"),
        ({"learning_rate": -1}, "learning_rate must be a finite number > 0, got -1.0"),
    ],
)
def test_invalid_setting_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        serialization.load(TrainConfig, serialization.dump(TrainConfig()) | change, "train")


def test_missing_setting_gets_its_default():
    """Earlier versions had fewer settings."""
    stored = serialization.dump(TrainConfig(steps=7))
    del stored["max_consecutive_skips"]
    assert serialization.load(TrainConfig, stored) == TrainConfig(steps=7)


def test_missing_setting_without_a_default_is_named():
    made = dataclasses.make_dataclass("Made", [("needed", int)])
    with pytest.raises(ValueError, match=r"config.needed is missing"):
        serialization.load(made, {})
    with pytest.raises(ValueError, match="config must be a JSON object, got 3"):
        serialization.load(TrainConfig, 3)


OLD_MODEL = {
    **{"cell": "mingru", "width": 8, "depth": 2, "expansion": 1, "conv_size": 3},
    **{"mlp_expansion": None, "dropout": 0.0, "variational": False, "candidate": "positive"},
    **{"gate_range": [0, 1], "forget_bias": 0.0, "normalize": True, "learned_carry": False},
    **{"bidirectional": False, "readout": "step", "tied": True, "heads": 4, "context": 256},
    **{"state_size": 16, "kernel_size": 3, "dtype": "float32", "remat": False},
}
"""Settings of a model from when all cells shared one list of options."""


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({}, {}),
        ({"cell": "lstm"}, {}),  # its own forget_bias, 1, was not a setting
        ({"cell": "minlstm", "forget_bias": 3.0}, {"forget_bias": 3.0}),
        ({"cell": "gru", "forget_bias": 3.0, "context": 16}, {}),
        ({"cell": "mingru", "learned_carry": True}, {"learn_initial_state": True}),
        ({"cell": "mingru+transformer", "context": 16, "heads": 2}, {"window": 16, "heads": 2}),
        ({"cell": "tcn", "kernel_size": 5}, {"kernel_size": 5}),
        ({"cell": "mamba", "state_size": 4}, {"state_size": 4}),
    ],
)
def test_old_model_settings_describe_the_same_model(change, options):
    settings = OLD_MODEL | change
    record = {"varied": {"model.context": 16}, "train": {}, "model": settings}
    current = current_record(record)
    assert list(current["grid"]) == ["model.window"]
    assert load_model_config(current["model"], "model") == ModelConfig(
        settings["cell"],
        width=8,
        depth=2,
        expansion=1,
        conv_kernel_size=3,
        mlp_expansion=None,
        tie_embeddings=True,
        options=options,
    )
    assert current_record(current) == current
