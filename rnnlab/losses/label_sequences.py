"""Sequences of labels: class 0 is the blank, and a negative number follows the last label."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from rnnlab.validation import require_shape

BLANK = 0
"""The class that emits no label. Labels are classes from 1 on."""
NO_LABEL = -1
"""What follows the last label of a sequence, as `rnnlab.tasks.batch.IGNORE_INDEX`."""


def label_counts(labels: Int[Array, "*batch label_time"]) -> Int[Array, "*batch"]:
    """Returns the number of labels of each sequence.

    >>> import jax.numpy as jnp
    >>> label_counts(jnp.array([[3, 1, -1], [-1, -1, -1]])).tolist()
    [2, 0]
    """
    return jnp.sum(labels >= 0, axis=-1, dtype=jnp.int32)


def frame_counts(
    mask: Bool[Array, "*batch time"] | None, shape: tuple[int, ...]
) -> Int[Array, "*batch"]:
    """Returns the number of real time steps of each example.

    Args:
      mask: False in padding, which is on the right; None: no padding.
      shape: (*batch, time) of the outputs.

    Raises:
      ValueError: the mask has another shape.
    """
    if mask is None:
        return jnp.full(shape[:-1], shape[-1], jnp.int32)
    require_shape("mask", mask, shape, "that of the outputs without classes")
    return jnp.sum(mask, axis=-1, dtype=jnp.int32)


def left_align(emitted: Int[Array, "*batch time"]) -> Int[Array, "*batch time"]:
    """Returns the labels of each sequence without the entries between them that are negative.

    >>> import jax.numpy as jnp
    >>> left_align(jnp.array([-1, 4, -1, -1, 2])).tolist()
    [4, 2, -1, -1, -1]
    """
    is_label = emitted >= 0
    order = jnp.argsort(~is_label, axis=-1, stable=True)
    return jnp.take_along_axis(jnp.where(is_label, emitted, NO_LABEL), order, axis=-1)


def mean_per_label(
    nats: Float[Array, "*batch"], counts: Int[Array, "*batch"], counted: Bool[Array, "*batch"]
) -> Float[Array, ""]:
    """Returns the sum of nats over the examples that count, per label of these.

    Args:
      nats: negative log likelihood of each sequence of labels.
      counts: number of labels of each sequence.
      counted: which examples count.

    >>> import jax.numpy as jnp
    >>> nats, counts = jnp.array([6.0, 2.0, 9.0]), jnp.array([3, 1, 5])
    >>> float(mean_per_label(nats, counts, jnp.array([True, True, False])))
    2.0
    """
    labels = jnp.sum(jnp.where(counted, counts, 0))
    total = jnp.sum(jnp.where(counted, nats, 0))
    return total / jnp.maximum(labels, 1).astype(total.dtype)
