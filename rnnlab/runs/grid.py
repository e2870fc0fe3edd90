"""The runs that an experiment's file asks for: its presets, their combinations, their names."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnlab.runs import serialization
from rnnlab import load_module
from rnnlab.models.config import ModelConfig
from rnnlab.runs.api import Experiment, Preset
from rnnlab.runs.run_dir import MAX_NAME_LENGTH
from rnnlab.train.config import TrainConfig


def grid(axes: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Every combination of a sweep's values.

    >>> list(grid({"model.cell": ("gru", "mingru"), "train.seed": (0,)}))
    [{'model.cell': 'gru', 'train.seed': 0}, {'model.cell': 'mingru', 'train.seed': 0}]
    >>> list(grid({"data.length+data.batch_size": ((32, 8), (64, 4))}))
    [{'data.length': 32, 'data.batch_size': 8}, {'data.length': 64, 'data.batch_size': 4}]
    """
    for values in itertools.product(*axes.values()):
        chosen: dict[str, Any] = {}
        for names, value in zip(axes, values, strict=True):
            together = "+" in names
            chosen |= zip(names.split("+"), value if together else (value,), strict=True)
        yield chosen


def override(experiment: Experiment, settings: Mapping[str, Any]) -> Experiment:
    """The experiment with settings replaced, named as in "model.cell".

    Raises:
      ValueError: a setting is unknown or its value is refused.
    """
    for name, value in settings.items():
        part, _, setting = name.partition(".")
        inner = getattr(experiment, part, None)
        if not hasattr(inner, setting):
            raise ValueError(f"{name} is no setting of this experiment")
        experiment = replace(experiment, **{part: replace(inner, **{setting: value})})
    return experiment


def run_name(varied: Mapping[str, Any]) -> str:
    """A folder's name for a combination of settings.

    >>> run_name({"model.cell": "mingru", "train.seed": 0})
    'cell=mingru,seed=0'
    """
    parts = [f"{name.rpartition('.')[2]}={_in_a_name(value)}" for name, value in varied.items()]
    name = ",".join(parts) or "run"
    if len(name) <= MAX_NAME_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name[: MAX_NAME_LENGTH - 13]}-{digest}"


def load_presets(path: Path) -> Mapping[str, Preset]:
    """The presets of an experiment's file, its `PRESETS`.

    Raises:
      ValueError: there is no such file, or it is no experiment.
    """
    module = load_module.load(path, "an experiment, which `rnnlab list` shows,")
    presets = getattr(module, "PRESETS", None)
    if not isinstance(presets, Mapping) or not presets:
        raise ValueError(f"{path} is no experiment: it has no PRESETS; `rnnlab list` shows them")
    for name, preset in presets.items():
        experiment = getattr(preset, "experiment", None)
        if not (
            isinstance(preset, Preset)
            and isinstance(experiment, Experiment)
            and isinstance(experiment.model, ModelConfig)
            and isinstance(experiment.train, TrainConfig)
            and all(isinstance(values, tuple) for values in preset.grid.values())
        ):
            raise ValueError(
                f"{path}: PRESETS[{name!r}] is none of Preset(Experiment(task, Architecture, "
                "Training), {setting: tuple of values}); mend it"
            )
    return presets


def _in_a_name(value: Any) -> str:
    """A value as part of a folder's name: short, and without anything but a few characters."""
    text = value if isinstance(value, str) else json.dumps(serialization.dump(value))
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "+-._") else "_" for c in text)
    return plain if len(plain) <= 40 else hashlib.sha256(text.encode()).hexdigest()[:12]
