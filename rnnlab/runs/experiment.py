"""An experiment: a task, a model and its training; and presets of its settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from rnnlab.models.config import ModelConfig
from rnnlab.parallel.mesh import MeshConfig
from rnnlab.train.config import TrainConfig

T = TypeVar("T")


@dataclass(frozen=True)
class Experiment(Generic[T]):
    """The settings of a run.

    Attributes:
      data: the task.
      model: settings of the model.
      train: settings of the training.
      mesh: the devices that it is trained on.
    """

    data: T
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)

    def override(self, settings: Mapping[str, Any]) -> "Experiment[T]":
        """Returns a copy with settings replaced, named as in "model.cell".

        Raises:
          ValueError: a setting is unknown or its value is invalid.

        >>> Experiment(None).override({"model.width": 3, "train.steps": 5}).model.width
        3
        """
        changes: dict[str, dict[str, Any]] = {}
        for name, value in settings.items():
            part, _, setting = name.partition(".")
            changes.setdefault(part, {})[setting] = value
        parts: dict[str, Any] = {}
        for part, values in changes.items():
            inner = getattr(self, part, None)
            if isinstance(inner, ModelConfig):
                parts[part] = inner.override(values)
                continue
            for setting in values:
                if not hasattr(inner, setting):
                    raise ValueError(
                        f"{part}.{setting} is not a setting of this experiment; remove it"
                    )
            parts[part] = replace(inner, **values)
        return replace(self, **parts)


@dataclass(frozen=True)
class Preset:
    """Named settings of an experiment, and the grid of settings that its runs vary.

    Attributes:
      experiment: the settings.
      grid: values by setting, as in {"model.cell": ("mingru", "gru")}; every combination is a run.
        Settings that vary together are one name joined by "+", and their values are tuples.
      cell_options: options by cell, as in {"minlstm": {"forget_bias": 4.0}}, for runs of that cell.
    """

    experiment: Experiment
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    cell_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def override(self, settings: Mapping[str, Any]) -> Experiment:
        """Returns the experiment with settings replaced, named as in "model.cell".

        Raises:
          ValueError: a setting is unknown or its value is invalid.
        """
        cell = settings.get("model.cell", self.experiment.model.cell)
        options = {
            f"model.{option}": value
            for name in cell.split("+")
            for option, value in self.cell_options.get(name, {}).items()
        }
        return self.experiment.override({**options, **settings})
