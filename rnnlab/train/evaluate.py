"""Evaluate a model on a data set."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from flax import nnx
from scipy.special import softmax

from rnnlab.parallel.gradient import sharded_call
from rnnlab.parallel.placement import Placement
from rnnlab.tasks.batch import Batch, loss_mask
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.decoding import Decoding
from rnnlab.tasks.operating_points import metrics_at_chosen_thresholds
from rnnlab.train.accumulate import MetricAccumulator
from rnnlab.train.model_call import call_model, decode_batch
from rnnlab.train.prefetch import validate_batch
from rnnlab.train.shared_programs import share_last

Decode = Callable[[Any, Batch], jax.Array | np.ndarray]
"""A decoder: `(params, batch) -> labels`, (batch, label_time) of int32."""


@share_last
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
        return call_model(model, (), batch)[1]

    if placement is None:
        return jax.jit(predict)
    on_mesh = _on_mesh(predict, placement)
    return lambda params, batch: on_mesh(params, batch)[:, : batch.inputs.shape[1]]


@share_last
def make_decode(
    graphdef: Any, decoding: Decoding | None, placement: Placement | None = None
) -> Decode | None:
    """Returns the jitted `decode(params, batch)`: label sequences, see `decode_batch`.

    None where there are no settings of a decoder, or the model has no `decode`.
    """
    if decoding is None or not hasattr(_model_class(graphdef), "decode"):
        return None

    def decode(params: Any, batch: Batch) -> jax.Array:
        model = nnx.merge(graphdef, params, copy=True)
        model.eval()
        return decode_batch(model, batch, decoding)

    return jax.jit(decode) if placement is None else _on_mesh(decode, placement)


def evaluate(
    predict: Callable[[Any, Batch], jax.Array],
    params: Any,
    data: TaskData,
    batches: Iterable[Batch],
    poll: Callable[[], None] = lambda: None,
    *,
    decode: Decode | None = None,
) -> dict[str, float]:
    """Returns the data's metrics over all time steps with a target, and of decoded sequences.

    Args:
      predict: as of `make_predict`.
      params: the parameters of the model.
      data: names the metrics.
      batches: the evaluation set.
      poll: is called after each batch; what it raises ends the evaluation.
      decode: as of `make_decode`: `data.decode` gets its label sequences instead of the outputs.

    Raises:
      ValueError: a batch holds ids out of range, or no time step has a target.
    """
    accumulator = MetricAccumulator(data.metrics, data.target_scale, data.classes)
    reads_outputs = decode is None or accumulator.reads_outputs
    for batch in batches:
        validate_batch(data, batch)
        outputs = np.asarray(predict(params, batch)) if reads_outputs else None
        if data.decode is not None:
            labels = outputs if decode is None else np.asarray(decode(params, batch))
            accumulator.add_decoded(data.decode(labels, batch))
        if outputs is not None and batch.targets is not None:
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


def _on_mesh(
    local: Callable[[Any, Batch], jax.Array], placement: Placement
) -> Callable[[Any, Batch], np.ndarray]:
    """Returns a function of a batch of host arrays whose examples the mesh divides."""
    # A process cannot read what only others hold.
    outputs = placement.replicated if jax.process_count() > 1 else placement.time_steps
    sharded = jax.jit(sharded_call(local, placement, has_time=True), out_shardings=outputs)

    def on_mesh(params: Any, batch: Batch) -> np.ndarray:
        return np.asarray(sharded(params, placement.put(batch)))[: len(batch.inputs)]

    return on_mesh


def _model_class(graphdef: Any) -> type:
    """Returns the class of the model that a graph definition describes."""
    return graphdef.nodes[0].type
