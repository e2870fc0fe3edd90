"""Evaluate a model on a data set."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from flax import nnx
from scipy.special import softmax

from rnnlab.call_validation import gap_option
from rnnlab.parallel.gradient import sharded_call
from rnnlab.parallel.placement import Placement
from rnnlab.tasks.batch import Batch, loss_mask
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.operating_points import metrics_at_chosen_thresholds
from rnnlab.train.accumulate import MetricAccumulator
from rnnlab.train.prefetch import validate_batch


def make_predict(
    graphdef: Any, placement: Placement | None = None
) -> Callable[[Any, Batch], jax.Array | np.ndarray]:
    """Returns the jitted `predict(params, batch)`: outputs by time step, from the initial carry.

    With a placement each device computes the outputs of its part of the batch; the batch and the
    outputs are host arrays.
    """

    def predict(params: Any, batch: Batch) -> jax.Array:
        model = nnx.merge(graphdef, params, copy=True)
        model.eval()
        carry = model.initial_carry(batch.inputs.shape[:1])
        flags = {"reset": batch.reset, "mask": batch.mask} | gap_option(model, batch.gaps)
        return model(carry, batch.inputs, **flags)[1]

    if placement is None:
        return jax.jit(predict)
    # A process cannot read what only others hold.
    outputs = placement.replicated if jax.process_count() > 1 else placement.time_steps
    sharded = jax.jit(sharded_call(predict, placement, has_time=True), out_shardings=outputs)

    def predict_on_mesh(params: Any, batch: Batch) -> np.ndarray:
        examples, length = batch.inputs.shape[:2]
        return np.asarray(sharded(params, placement.put(batch)))[:examples, :length]

    return predict_on_mesh


def evaluate(
    predict: Callable[[Any, Batch], jax.Array],
    params: Any,
    data: TaskData,
    batches: Iterable[Batch],
    poll: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Returns the data's metrics over all time steps with a target.

    `poll` is called after each batch; what it raises ends the evaluation.

    Raises:
      ValueError: a batch holds ids out of range, or no time step has a target.
    """
    accumulator = MetricAccumulator(data.metrics, data.target_scale, data.classes)
    for batch in batches:
        validate_batch(data, batch)
        outputs = np.asarray(predict(params, batch))
        if data.decode is not None:
            accumulator.add_decoded(data.decode(outputs, batch))
        if batch.targets is not None:
            targets = batch.targets
            if data.relative_scales is not None:
                scales = data.relative_scales(batch)
                outputs, targets = outputs * scales, targets * scales
            keep = _has_target(batch)
            accumulator.add(outputs[keep], targets[keep])
        poll()
    return accumulator.result()


def at_wanted_recall(
    predict: Callable[[Any, Batch], jax.Array], params: Any, data: TaskData
) -> dict[str, float]:
    """Returns metrics on the last set at thresholds chosen on the first, `data.wanted_recall`."""
    if not data.wanted_recall:
        return {}

    def probabilities(batches: Iterable[Batch]) -> tuple[np.ndarray, np.ndarray]:
        found = [(np.asarray(predict(params, x)), x.targets, _has_target(x)) for x in batches]
        outputs = np.concatenate([outputs[keep] for outputs, _, keep in found])
        targets = np.concatenate([targets[keep] for _, targets, keep in found])
        return softmax(outputs.astype(np.float64), -1), targets

    valid, *_, test = [probabilities(batches()) for batches in data.eval_sets.values()]
    return metrics_at_chosen_thresholds(valid, test, data.wanted_recall, data.classes)


def _has_target(batch: Batch) -> np.ndarray:
    """Whether any target of a time step counts, (batch, time) bool."""
    keep = loss_mask(batch)
    return keep.any(-1) if keep.ndim == 3 else keep
