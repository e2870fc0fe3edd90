"""The architecture of a bundle: built as shapes only, and checked before that."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from rnnlab.bundle.description import Sizes
from rnnlab.heads import Head
from rnnlab.models import ModelConfig, SequenceModel
from rnnlab.models.config import settings_class
from rnnlab.registry import REGISTRY
from rnnlab.runs.api import load_model_config
from rnnlab.runs.serialization import dump

MAX_SIZE = 1 << 20
"""Greatest width, depth, window or other integer of an architecture."""


def dump_config(config: ModelConfig) -> dict[str, Any]:
    """Returns the settings of a model of registered cells, as JSON values.

    Raises:
      ValueError: a cell is a class of a user's file, or an option is a path.
    """
    settings = config.settings()
    _require_registered(settings["cell"], "the model of a bundle")
    for name, value in settings.items():
        if isinstance(value, Path):
            raise ValueError(
                f"the model of a bundle must not read files, got {name}={value}; change the option"
            )
    return dump(settings)


def load_config(settings: Any, where: str) -> ModelConfig:
    """Returns the settings of a model. Executes no code that the settings name.

    A missing setting has its default, as those have that are added after a bundle was written.

    Raises:
      ValueError: a setting is unknown or out of range, or a cell is not registered.
    """
    cell = settings.get("cell") if isinstance(settings, dict) else None
    _require_registered(cell, where)
    for name, value in settings.items():
        parts = value if isinstance(value, list) else [value]
        if any(isinstance(x, int | float) and abs(x) > MAX_SIZE for x in parts):
            raise ValueError(f"{where}.{name} must be at most {MAX_SIZE}; restore it from a copy")
    known = {field.name for field in fields(settings_class(cell))}
    if unknown := settings.keys() - known:
        raise ValueError(
            f"{where} must not have the key {min(unknown)[:60]!r}; restore it from a copy, or "
            "upgrade rnnlab"
        )
    return load_model_config(settings, where)


def abstract_model(
    config: ModelConfig, sizes: Sizes, loss: str | Head
) -> tuple[SequenceModel, list[Any]]:
    """Returns a model with shapes in place of arrays, in evaluation mode, and its carry's leaves.

    The leaves are those of one stream, without a batch axis.

    Raises:
      ValueError: the settings do not fit each other or the sizes.
    """

    def make() -> tuple[SequenceModel, Any]:
        model = config.build(
            sizes.out_features,
            vocab_size=sizes.vocab_size,
            in_features=sizes.in_features,
            num_variables=sizes.num_variables,
            source_vocab_size=sizes.source_vocab_size,
            source_features=sizes.source_features,
            word_sizes=sizes.word_sizes,
            loss=loss,
            rngs=nnx.Rngs(0),
        )
        return model, model.initial_carry(())

    model, carry = nnx.eval_shape(make)
    model.eval()
    return model, jax.tree.leaves(carry)


def state_layout(leaves: list[Any]) -> list[dict[str, Any]]:
    """Returns name, dtype and shape of each part of the state of one stream.

    Names are those of the carry's inputs in exported files.
    """
    return [
        {"name": f"carry.{k}", "dtype": str(x.dtype), "shape": list(x.shape)}
        for k, x in enumerate(leaves)
    ]


def _require_registered(cell: Any, where: str) -> None:
    """Raises unless a model is of registered cells, since others are code of a user's file."""
    names = cell.split("+") if isinstance(cell, str) else [cell]
    for name in names:
        if name not in REGISTRY:
            raise ValueError(
                f"{where} must be of registered cells, {', '.join(REGISTRY)}, since a bundle holds "
                f"no code, got {str(name)[:60]!r}; add the cell to rnnlab.registry, or keep the run"
            )
