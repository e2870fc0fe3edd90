"""Training losses: means over the time steps that have a target."""

import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float, Int

from rnnlab.tasks.batch import IGNORE_INDEX
from rnnlab.validation import require_one_of


def categorical(
    outputs: Float[Array, "*batch classes"],
    targets: Int[Array, "*batch"],
    mask: Bool[Array, "*batch"] | None = None,
) -> Float[Array, ""]:
    """Returns the cross entropy in nats of the logits `outputs`, a mean over time steps.

    A time step whose target is `IGNORE_INDEX` or whose mask is False does not count and gets no
    gradient.
    """
    scored = targets != IGNORE_INDEX
    if mask is not None:
        scored = scored & mask
    outputs = jnp.where(jnp.expand_dims(scored, -1), outputs, 0)
    nats = optax.softmax_cross_entropy_with_integer_labels(outputs, jnp.where(scored, targets, 0))
    return _mean(jnp.where(scored, nats, 0), scored)


def binary(
    outputs: Float[Array, "*batch labels"],
    targets: Float[Array, "*batch labels"],
    mask: Bool[Array, "*batch"] | None = None,
) -> Float[Array, ""]:
    """Returns the cross entropy in nats of independent labels: summed over labels, averaged over
    time steps.

    Labels that are NaN do not count, nor does a time step without any label.
    """
    scored = _scored(targets, mask)
    outputs, targets = (jnp.where(scored, x, 0) for x in (outputs, targets))
    nats = optax.sigmoid_binary_cross_entropy(outputs, targets)
    return _mean(jnp.where(scored, nats, 0), scored.any(-1))


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
    scored = _scored(targets, mask)
    return _mean(jnp.square(jnp.where(scored, outputs - targets, 0)), scored)


LOSSES = {"categorical": categorical, "binary": binary, "squared": squared_error_loss}
"""Losses by the names of `rnnlab.tasks.data.TaskData.loss`."""


def loss_function(name: str):
    """Returns the loss of a name.

    Raises:
      ValueError: the name is unknown.
    """
    require_one_of("loss", name, LOSSES)
    return LOSSES[name]


def _scored(targets: Array, mask: Array | None) -> Array:
    scored = ~jnp.isnan(targets)
    return scored if mask is None else scored & jnp.expand_dims(mask, -1)


def _mean(x: Array, scored: Array) -> Array:
    """Returns the sum divided by the number of entries that count; 0 without any."""
    return jnp.sum(x) / jnp.maximum(jnp.sum(scored, dtype=x.dtype), 1)
