"""The runs of an experiment's file: its presets, the combinations of a grid, their names."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rnnlab import load_module
from rnnlab.atomic_io import read_json
from rnnlab.models.config import ModelConfig
from rnnlab.runs import serialization
from rnnlab.runs.experiment import Experiment, Preset
from rnnlab.runs.run_dir import MAX_NAME_LENGTH
from rnnlab.train.config import TrainConfig

CELL, SEED = "model.cell", "train.seed"
MAX_VALUE_LENGTH = 40
"""Characters of a value in a run's name; longer ones are replaced by a digest."""


def grid(axes: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Yields every combination of the values of a grid.

    >>> list(grid({"model.cell": ("gru", "mingru"), "train.seed": (0,)}))
    [{'model.cell': 'gru', 'train.seed': 0}, {'model.cell': 'mingru', 'train.seed': 0}]
    >>> list(grid({"data.length+data.batch_size": ((32, 8), (64, 4))}))
    [{'data.length': 32, 'data.batch_size': 8}, {'data.length': 64, 'data.batch_size': 4}]
    """
    for values in itertools.product(*axes.values()):
        settings: dict[str, Any] = {}
        for names, value in zip(axes, values, strict=True):
            joined = "+" in names
            settings |= zip(names.split("+"), value if joined else (value,), strict=True)
        yield settings


def run_name(settings: Mapping[str, Any]) -> str:
    """Returns the name of the directory of a run with these settings of a grid.

    It does not depend on their order: the cell is first, the seed last, the others are sorted.

    >>> run_name({"train.seed": 0, "model.depth": 2, "model.cell": "mingru"})
    'cell=mingru,depth=2,seed=0'
    """
    order = {CELL: 0, SEED: 2}
    return _joined(
        dict(sorted(settings.items(), key=lambda pair: (order.get(pair[0], 1), pair[0])))
    )


def run_directory(out: Path, settings: Mapping[str, Any]) -> Path:
    """Returns the directory, in `out`, of a run with these settings of a grid.

    It is named by `run_name`. Earlier versions named the settings in the order of the flags: such a
    directory is returned if it exists.
    """
    named = out / run_name(settings)
    if named.exists():
        return named
    wanted = serialization.dump(settings)
    for config in sorted(out.glob("*/config.json")):
        with suppress(OSError, ValueError):  # the files of another run may be corrupt
            found = read_json(config)
            known = found.get("grid") if isinstance(found, dict) else None
            if known == wanted and config.parent.name == _joined(known):
                return config.parent
    return named


def _joined(settings: Mapping[str, Any]) -> str:
    """Returns the settings in their order, shortened to a name of a directory."""
    parts = [f"{name.rpartition('.')[2]}={_slug(value)}" for name, value in settings.items()]
    name = ",".join(parts) or "run"
    if len(name) <= MAX_NAME_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name[: MAX_NAME_LENGTH - 13]}-{digest}"


def load_presets(path: Path) -> Mapping[str, Preset]:
    """Returns the presets of an experiment's file, its `PRESETS`.

    Raises:
      ValueError: the file does not exist or is not an experiment.
    """
    module = load_module.load(path, "an experiment (`rnnlab list` shows them)")
    presets = getattr(module, "PRESETS", None)
    if not isinstance(presets, Mapping) or not presets:
        raise ValueError(
            f"{path} is not an experiment: it must define PRESETS; `rnnlab list` shows experiments"
        )
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
                f"{path}: PRESETS[{name!r}] must be Preset(Experiment(task, ModelConfig, "
                "TrainConfig), {setting: tuple of values}); fix the file"
            )
    return presets


def _slug(value: Any) -> str:
    """Returns a value as part of a directory's name: short, and of a few safe characters."""
    text = value if isinstance(value, str) else json.dumps(serialization.dump(value))
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "+-._") else "_" for c in text)
    if len(safe) <= MAX_VALUE_LENGTH:
        return safe
    return hashlib.sha256(text.encode()).hexdigest()[:12]
