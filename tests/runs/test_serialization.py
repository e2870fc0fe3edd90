"""Settings survive JSON, and whatever else a file holds is refused by name."""

import dataclasses
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from rnnlab.runs import serialization
from rnnlab.tasks import TASKS
from rnnlab.train.config import TrainConfig


@dataclass(frozen=True)
class Example:
    path: Path | None = None
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[int, float] = (1, 2.0)


def again(value):
    return serialization.load(type(value), json.loads(json.dumps(serialization.dump(value))))


@pytest.mark.parametrize(
    "value",
    [
        Example(),
        Example(Path("a/b"), (), (3, 0.5)),
        TrainConfig(steps=3, grad_clip_norm=None, patience=2),
    ],
)
def test_settings_come_back_as_they_were(value):
    assert again(value) == value


@pytest.mark.parametrize("name", TASKS)
def test_every_task_comes_back_as_it_was(name):
    task = TASKS[name]
    required = {"path": Path("music.mat")} if name == "Chorales" else {}
    value = replace(task(**required), batch_size=3)
    assert again(value) == value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"setps": 3}, "train.setps is unknown"),
        ({"steps": "3"}, "train.steps is '3'; int is needed"),
        ({"steps": True}, "train.steps is True; int is needed"),
        ({"steps": False}, "train.steps is False; int is needed"),
        ({"steps": 2.5}, "train.steps is 2.5; int is needed"),
        ({"optimizer": "sgd"}, "train.optimizer is 'sgd'; one of"),
        ({"weight_decay_gates": 1}, "train.weight_decay_gates is 1; bool is needed"),
        ({"learning_rate": -1}, "learning_rate must be a finite number > 0, got -1.0"),
    ],
)
def test_what_is_no_setting_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        serialization.load(TrainConfig, serialization.dump(TrainConfig()) | change, "train")


def test_a_missing_setting_has_its_default():
    """Settings of an earlier rnnlab, which had fewer."""
    stored = serialization.dump(TrainConfig(steps=7))
    del stored["max_consecutive_skips"]
    assert serialization.load(TrainConfig, stored) == TrainConfig(steps=7)


def test_what_has_no_default_is_named():
    made = dataclasses.make_dataclass("Made", [("needed", int)])
    with pytest.raises(ValueError, match=r"config.needed is missing"):
        serialization.load(made, {})
    with pytest.raises(ValueError, match="config is 3"):
        serialization.load(TrainConfig, 3)
