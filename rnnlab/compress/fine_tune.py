"""Train a compressed model for a few updates, from the parameters that it has."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rnnlab.bundle.encodings import Integers
from rnnlab.compress.straight_through import StraightThrough
from rnnlab.compress.units import copy_of
from rnnlab.models import SequenceModel
from rnnlab.tasks.data import TaskData
from rnnlab.train.callbacks import LoopCallbacks, Reporter
from rnnlab.train.config import TrainConfig
from rnnlab.train.loop import TrainingLoop

RATE = 0.5
"""Highest learning rate of fine-tuning, relative to that of the training."""


def tuning_config(
    config: TrainConfig, steps: int, learning_rate: float | None = None
) -> TrainConfig:
    """Returns the settings of a fine-tuning from those of the training.

    The learning rate falls from half of the highest one of the training along a cosine.

    >>> tuning_config(TrainConfig(learning_rate=0.004), 100).learning_rate
    0.002
    """
    return replace(
        config,
        steps=steps,
        learning_rate=RATE * config.learning_rate if learning_rate is None else learning_rate,
        schedule="cosine",
        warmup_steps=steps // 10,
        end_lr_fraction=0.0,
        eval_every=max(steps // 4, 1),
        patience=None,
    )


def fine_tune(
    model: SequenceModel,
    data: TaskData,
    config: TrainConfig,
    *,
    encodings: Mapping[str, Integers] | None = None,
    reporter: Reporter | None = None,
) -> SequenceModel:
    """Returns a model after further training, with the parameters of its best evaluation.

    The first evaluation precedes the first update, so that the result is never worse than `model`
    on the evaluation set that decides, the first of the data.

    Args:
      model: is not changed.
      data: what it is trained and evaluated on.
      config: as `tuning_config` returns it.
      encodings: of weights that the forward pass rounds, as `leaf_encodings` returns them: the
        parameters that are returned are the ones to quantize.
      reporter: receives the progress; by default nothing is shown.

    Raises:
      TrainingDivergedError: losses or gradients are NaN or Inf.
      ValueError: the data does not fit the model.
    """
    model = copy_of(model)
    trained = model if not encodings else StraightThrough(model, encodings)
    best: list[Any] = []

    def keep_best(
        step: int, tree: Mapping[str, Any], *, best: bool, found: list[Any] = best
    ) -> None:
        if best:  # the next update takes the buffers of the state
            found[:] = [jax.tree.map(jnp.copy, tree["state"].params)]

    callbacks = LoopCallbacks(reporter or Reporter(), save_checkpoint=keep_best)
    TrainingLoop(trained, data, config, callbacks).run()
    graphdef, _, rest = nnx.split(trained, nnx.Param, ...)
    tuned = nnx.merge(graphdef, best[0], rest, copy=True)
    tuned = tuned.model if encodings else tuned
    tuned.eval()
    return tuned
