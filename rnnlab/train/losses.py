"""Training losses: means over the time steps that have a target, or over labels."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float, Int

from rnnlab.heads import Head, SequenceHead
from rnnlab.heads.base import known_targets, mean_over
from rnnlab.losses import bpr_max, ctc_loss, top1_max, transducer_loss
from rnnlab.losses.ctc import frames_needed
from rnnlab.losses.label_sequences import frame_counts, label_counts, mean_per_label
from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.validation import require_one_of

LossFn = Callable[[Array, Batch], Float[Array, ""]]
"""A loss: `(outputs, batch) -> value`."""


def categorical(
    outputs: Float[Array, "*batch classes"],
    targets: Int[Array, "*batch"],
    mask: Bool[Array, "*batch"] | None = None,
    *,
    class_weights: Sequence[float] | None = None,
    focusing: float = 0.0,
) -> Float[Array, ""]:
    """Returns the cross entropy in nats of the logits `outputs`, a mean over time steps.

    A time step whose target is `IGNORE_INDEX` or whose mask is False does not count and gets no
    gradient.

    Args:
      outputs: logits.
      targets: classes.
      mask: which time steps count.
      class_weights: weight of a time step by its class, in a weighted mean; None: all are 1.
      focusing: the exponent gamma of the focal loss, which multiplies a time step's cross entropy
        by (1 - p) ** gamma, where p is the probability of its class; 0, or 1 or more.

    Source: Lin et al., arXiv 1708.02002, equation 5, for the focal loss.
    """
    scored = targets != IGNORE_INDEX
    if mask is not None:
        scored = scored & mask
    outputs = jnp.where(jnp.expand_dims(scored, -1), outputs, 0)
    classes = jnp.where(scored, targets, 0)
    nats = _focused(optax.softmax_cross_entropy_with_integer_labels(outputs, classes), focusing)
    if class_weights is None:
        return mean_over(jnp.where(scored, nats, 0), scored)
    _require_weights(class_weights, outputs.shape[-1])
    weights = jnp.where(scored, jnp.asarray(class_weights, nats.dtype)[classes], 0)
    total = jnp.sum(weights)
    return jnp.sum(weights * nats) / jnp.where(total > 0, total, 1)


def binary(
    outputs: Float[Array, "*batch labels"],
    targets: Float[Array, "*batch labels"],
    mask: Bool[Array, "*batch"] | None = None,
    *,
    positive_weight: float = 1.0,
    focusing: float = 0.0,
) -> Float[Array, ""]:
    """Returns the cross entropy in nats of independent labels: summed over labels, averaged over
    time steps.

    Labels that are NaN do not count, nor does a time step without any label.

    Args:
      outputs: logits.
      targets: 0 or 1.
      mask: which time steps count.
      positive_weight: factor of the terms whose label is 1, as `pos_weight` in torch.
      focusing: the exponent of the focal loss, as in `categorical`.
    """
    scored, targets = known_targets(targets, mask)
    outputs = jnp.where(scored, outputs, 0)
    nats = _focused(optax.sigmoid_binary_cross_entropy(outputs, targets), focusing)
    nats = nats * jnp.where(targets > 0.5, positive_weight, 1.0).astype(nats.dtype)
    return mean_over(jnp.where(scored, nats, 0), scored.any(-1))


def squared_error_loss(
    outputs: Float[Array, "*batch values"],
    targets: Float[Array, "*batch values"],
    mask: Bool[Array, "*batch"] | None = None,
) -> Float[Array, ""]:
    """Returns the squared error, a mean over the values whose target is not NaN.

    >>> import jax.numpy as jnp
    >>> float(squared_error_loss(jnp.array([[1.0, 5.0]]), jnp.array([[3.0, jnp.nan]])))
    4.0
    """
    scored, targets = known_targets(targets, mask)
    return mean_over(jnp.square(jnp.where(scored, outputs - targets, 0)), scored)


def ctc(outputs: Float[Array, "batch time classes"], batch: Batch) -> Float[Array, ""]:
    """Returns the CTC loss in nats per label of `batch.labels`, whose class 0 is the blank.

    An example with fewer time steps than its labels need does not count and gets no gradient.

    Args:
      outputs: logits.
      batch: examples with labels and maybe a mask.
    """
    nats, feasible = ctc_loss(outputs, batch.labels, batch.mask)
    return mean_per_label(nats, label_counts(batch.labels), feasible)


def transducer(
    outputs: Float[Array, "batch time nodes 2"], batch: Batch, *, fast_emit: float = 0.0
) -> Float[Array, ""]:
    """Returns the loss of a transducer in nats per label of `batch.labels`; class 0 is the blank.

    An example without time steps does not count.

    Args:
      outputs: log probabilities of the blank and of the next label, see
        `rnnlab.models.node_log_probs`.
      batch: examples with labels and maybe a mask.
      fast_emit: the factor lambda of FastEmit, see `rnnlab.transducer_loss`.
    """
    frames, counts = frame_counts(batch.mask, outputs.shape[:2]), label_counts(batch.labels)
    nats = transducer_loss(
        outputs[..., 0], outputs[..., :-1, 1], frames, counts, fast_emit=fast_emit
    )
    return mean_per_label(nats, counts, frames > 0)


def sampled(
    ranking: Callable[..., Array],
    outputs: Float[Array, "*batch time classes"],
    batch: Batch,
    **options: Any,
) -> Float[Array, ""]:
    """Returns a loss of the target's score and those of `batch.negatives`, a mean over time steps.

    Args:
      ranking: of `rnnlab.losses.ranking`.
      outputs: the scores of all classes. Only those of the target and of the sample get a gradient.
      batch: with negatives. One that is the target of a time step does not count there.
      options: keyword arguments of `ranking`.

    Raises:
      ValueError: the batch has no negatives.
    """
    if batch.negatives is None:
        raise ValueError(
            "a batch must have negatives for a loss of sampled classes, got none; draw them in "
            "train_batch, or use the loss 'categorical'"
        )
    scored = batch.targets != IGNORE_INDEX
    if batch.mask is not None:
        scored = scored & batch.mask
    outputs = jnp.where(jnp.expand_dims(scored, -1), outputs, 0)
    classes = jnp.where(scored, batch.targets, 0)[..., None]
    negatives = batch.negatives[..., None, :]
    negatives = jnp.broadcast_to(negatives, (*classes.shape[:-1], negatives.shape[-1]))
    target = jnp.take_along_axis(outputs, classes, -1)[..., 0]
    others = jnp.take_along_axis(outputs, negatives, -1)
    values = ranking(target, others, negatives != classes, **options)
    return mean_over(jnp.where(scored, values, 0), scored)


LOSSES = {"categorical": categorical, "binary": binary, "squared": squared_error_loss}
"""Losses of (outputs, targets, mask) by the names of `rnnlab.tasks.data.TaskData.loss`."""

LABEL_LOSSES = {"ctc": ctc, "transducer": transducer}
"""Losses of (outputs, batch) for label sequences without an alignment, by the same names."""

SAMPLED_LOSSES = {"bpr_max": partial(sampled, bpr_max), "top1_max": partial(sampled, top1_max)}
"""Losses of (outputs, batch) that compare classes with sampled ones, by the same names."""

CLASS_LOSSES = ("categorical", *SAMPLED_LOSSES)
"""Losses whose targets are classes."""


def loss_function(
    loss: str | Head | SequenceHead, options: Mapping[str, Any] | None = None
) -> LossFn:
    """Returns the loss of a name, or of a head, as a function of outputs and a batch.

    Args:
      loss: as `TaskData.loss`.
      options: keyword arguments of a named loss, as `TaskData.loss_options`.

    Raises:
      ValueError: the name is unknown.
    """
    if isinstance(loss, SequenceHead):
        return lambda outputs, batch: loss.loss(outputs, batch.targets, batch.mask, batch.reset)
    if isinstance(loss, Head):
        of_targets = loss.loss
    elif loss in (of_batches := LABEL_LOSSES | SAMPLED_LOSSES):
        return partial(of_batches[loss], **(options or {}))
    else:
        require_one_of("loss", loss, (*LOSSES, *LABEL_LOSSES, *SAMPLED_LOSSES))
        of_targets = partial(LOSSES[loss], **(options or {}))

    def of_batch(outputs: Array, batch: Batch) -> Array:
        return of_targets(outputs, batch.targets, batch.mask)

    return of_batch


def loss_weight(
    loss: str | Head | SequenceHead, options: Mapping[str, Any] | None = None
) -> Callable[[Batch], Float[Array, ""]]:
    """Returns the function of a batch that a loss divides its sum by, at least where it is not 0.

    It is the number of time steps, values or labels that count, or the sum of their class weights.
    A mean over several batches, or over the parts of one on several devices, is that of their
    losses weighted by it.

    Args:
      loss, options: as in `loss_function`.

    >>> import numpy as np
    >>> batch = Batch(np.zeros((1, 3)), np.array([[0, IGNORE_INDEX, 1]]))
    >>> float(loss_weight("categorical", {"class_weights": (1.0, 5.0)})(batch))
    6.0
    """
    class_weights = (options or {}).get("class_weights")

    def of_batch(batch: Batch) -> Array:
        targets = batch.targets
        if isinstance(loss, str) and loss in LABEL_LOSSES:
            frames = frame_counts(batch.mask, batch.inputs.shape[:2])
            needed = frames_needed(batch.labels) if loss == "ctc" else 1
            counts = jnp.where(frames >= needed, label_counts(batch.labels), 0)
            return jnp.sum(counts, dtype=jnp.float32)
        if isinstance(loss, SequenceHead):
            return jnp.sum(loss.counted(targets, batch.mask), dtype=jnp.float32)
        if loss in CLASS_LOSSES:
            scored = targets != IGNORE_INDEX
            if batch.mask is not None:
                scored = scored & batch.mask
            if class_weights is not None:
                classes = jnp.where(scored, targets, 0)
                weights = jnp.asarray(class_weights, jnp.float32)
                return jnp.sum(jnp.where(scored, weights[classes], 0))
        else:
            scored, _ = known_targets(targets, batch.mask)
            scored = scored.any(-1) if loss == "binary" else scored
        return jnp.sum(scored, dtype=jnp.float32)

    return of_batch


def _focused(nats: Array, focusing: float) -> Array:
    """Returns cross entropies times (1 - p) ** focusing, where p = exp(-nats)."""
    if focusing == 0:
        return nats
    if focusing < 1:
        raise ValueError(
            f"focusing must be 0, or 1 or more, got {focusing}: between them the gradient of a "
            "certain prediction is infinite; pass 2"
        )
    return nats * (-jnp.expm1(-nats)) ** focusing


def _require_weights(weights: Sequence[float], num_classes: int) -> None:
    if len(weights) != num_classes or min(weights) < 0:
        raise ValueError(
            f"class_weights must be {num_classes} numbers >= 0, one per class, got {weights}; "
            "correct them"
        )
