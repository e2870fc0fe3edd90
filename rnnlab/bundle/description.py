"""The description of a model in a bundle: sizes, loss, classes, preparation and provenance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rnnlab.heads import Head, SequenceHead
from rnnlab.models import ModelConfig
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.predictions import Preparation
from rnnlab.validation import require_positive_int


@dataclass(frozen=True)
class Sizes:
    """Inputs and outputs of a model, see `rnnlab.tasks.data.TaskData`.

    Raises:
      ValueError: a size is out of range, or there are not either token ids or values.
    """

    out_features: int
    vocab_size: int | None = None
    in_features: int | None = None
    num_variables: int = 0
    source_vocab_size: int | None = None
    source_features: int | None = None
    word_sizes: tuple[int, int] | None = None

    OMITTED: ClassVar[tuple[str, ...]] = ("source_vocab_size", "source_features", "word_sizes")
    """Sizes that a bundle names only where they are not None."""

    def __post_init__(self) -> None:
        optional = {
            name: getattr(self, name)
            for name in ("vocab_size", "in_features", "source_vocab_size", "source_features")
        }
        given = {name: size for name, size in optional.items() if size is not None}
        if self.num_variables != 0:
            given["num_variables"] = self.num_variables
        for k, size in enumerate(self.word_sizes or ()):
            given[f"word_sizes[{k}]"] = size
        require_positive_int(out_features=self.out_features, **given)
        if (self.vocab_size is None) == (self.in_features is None):
            raise ValueError(
                f"either vocab_size or in_features must be given, got {self.vocab_size} and "
                f"{self.in_features}; pass one of them"
            )
        if None not in (self.source_vocab_size, self.source_features):
            raise ValueError(
                "only one of source_vocab_size and source_features may be given, got "
                f"{self.source_vocab_size} and {self.source_features}; remove one of them"
            )
        if 3 * self.num_variables > (self.in_features or 0):
            raise ValueError(
                f"num_variables must be at most a third of in_features, {self.in_features}, got "
                f"{self.num_variables}; lower it"
            )

    @classmethod
    def of(cls, data: TaskData) -> "Sizes":
        """Returns the sizes of a task's data."""
        return cls(
            data.out_features,
            data.vocab_size,
            data.in_features,
            data.num_variables,
            data.source_vocab_size,
            data.source_features,
            data.word_sizes,
        )

    def record(self) -> dict[str, int | list[int] | None]:
        """Returns the sizes as JSON values; those in `OMITTED` only where they are not None."""
        return {
            name: list(size) if isinstance(size, tuple) else size
            for name, size in vars(self).items()
            if size is not None or name not in self.OMITTED
        }


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

    Raises:
      ValueError: the vocabulary or the head does not fit the sizes.
    """

    name: str
    config: ModelConfig
    sizes: Sizes
    loss: str | Head | SequenceHead
    metrics: tuple[str, ...] = ()
    target_scale: float = 1.0
    autoregressive: bool = False
    vocabulary: tuple[str, ...] = field(default=(), repr=False)
    classes: tuple[str, ...] = field(default=(), repr=False)
    preparation: Preparation | None = field(default=None, repr=False)
    source: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.vocabulary and len(self.vocabulary) != self.sizes.vocab_size:
            raise ValueError(
                f"vocabulary must have vocab_size symbols, {self.sizes.vocab_size}, got "
                f"{len(self.vocabulary)}; correct it"
            )
        if not isinstance(self.loss, str) and self.loss.out_features != self.sizes.out_features:
            raise ValueError(
                f"the head must have out_features outputs, {self.sizes.out_features}, got "
                f"{self.loss.out_features}; correct it"
            )
