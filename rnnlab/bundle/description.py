"""The description of a model in a bundle: sizes, loss, classes, preparation and provenance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rnnlab.heads import Head
from rnnlab.models import ModelConfig
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.predictions import Preparation


@dataclass(frozen=True)
class Sizes:
    """Inputs and outputs of a model, see `rnnlab.tasks.data.TaskData`."""

    out_features: int
    vocab_size: int | None = None
    in_features: int | None = None
    num_variables: int = 0

    @classmethod
    def of(cls, data: TaskData) -> "Sizes":
        """Returns the sizes of a task's data."""
        return cls(data.out_features, data.vocab_size, data.in_features, data.num_variables)


@dataclass(frozen=True, eq=False)
class Description:
    """All that a bundle holds except its parameters and further files.

    Attributes:
      name: of the model.
      config: the architecture, of registered cells.
      sizes: of its inputs and outputs.
      loss: the name of a loss, or a head, as `TaskData.loss`.
      metrics: names, the main one first, as `TaskData.metrics`.
      target_scale: what 1 in the targets is in the data's own units.
      autoregressive: whether targets are later inputs.
      vocabulary: the symbol of each token id; empty where tokens are not text.
      classes: the name of each class; empty where classes have only numbers.
      preparation: prepares new data and predicts; None where a task generates its data.
      source: JSON values on where the model comes from, such as the result of its run.
    """

    name: str
    config: ModelConfig
    sizes: Sizes
    loss: str | Head
    metrics: tuple[str, ...] = ()
    target_scale: float = 1.0
    autoregressive: bool = False
    vocabulary: tuple[str, ...] = field(default=(), repr=False)
    classes: tuple[str, ...] = field(default=(), repr=False)
    preparation: Preparation | None = field(default=None, repr=False)
    source: Mapping[str, Any] = field(default_factory=dict, repr=False)
