"""A model's predictions over a held-out set."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from flax import nnx

from rnnlab.tasks.batch import Batch, scored
from rnnlab.tasks.data import TaskData
from rnnlab.train.metrics import Measurement
from rnnlab.train.prefetch import check


def make_predict(graphdef: Any) -> Callable[[Any, Batch], jax.Array]:
    """The jitted `predict(params, batch)`: outputs of every step, from the initial carry."""

    @jax.jit
    def predict(params: Any, batch: Batch) -> jax.Array:
        model = nnx.merge(graphdef, params, copy=True)
        carry = model.initial_carry(batch.inputs.shape[:1])
        return model(carry, batch.inputs, reset=batch.reset, mask=batch.mask)[1]

    return predict


def evaluate(
    predict: Callable[[Any, Batch], jax.Array],
    params: Any,
    data: TaskData,
    batches: Iterable[Batch],
    between: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """The data's metrics over all scored steps. `between` is called after each batch."""
    measurement = Measurement(data.metrics, data.target_scale)
    for batch in batches:
        check(data, batch)
        # A step's outputs are kept where any of its targets is scored.
        keep = scored(batch)
        if keep.ndim == 3:
            keep = keep.any(-1)
        measurement.add(np.asarray(predict(params, batch))[keep], batch.targets[keep])
        between()
    return measurement.result()
