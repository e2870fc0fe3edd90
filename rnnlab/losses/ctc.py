"""Connectionist temporal classification: labels without an alignment, one class per time step.

Source: Graves et al., "Connectionist temporal classification", ICML 2006. The loss is optax's.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float, Int

from rnnlab.dtypes import accumulation_dtype
from rnnlab.losses.label_sequences import BLANK, NO_LABEL, frame_counts, left_align
from rnnlab.scan.time_shards import time_axis
from rnnlab.validation import require_floating, require_shape


class CTCLoss(NamedTuple):
    """The losses of a batch, and which of them exist.

    Attributes:
      nats: (*batch,) negative log likelihood of each sequence of labels; 0, without a gradient,
        where it is infinite.
      feasible: (*batch,) bool, False where the time steps are fewer than the labels need.
    """

    nats: Array
    feasible: Array


def ctc_loss(
    logits: Float[Array, "*batch time classes"],
    labels: Int[Array, "*batch label_time"],
    mask: Bool[Array, "*batch time"] | None = None,
) -> CTCLoss:
    """Returns the negative log likelihood of each sequence of labels, over all alignments.

    Args:
      logits: of class 0, the blank, and of the labels. 16-bit logits are computed in float32.
      labels: classes from 1 on; negative after the end of a sequence.
      mask: False in padding, which is on the right; None: no padding.

    Returns:
      The losses in nats, and which examples are feasible. An example needs one time step per label,
      and one more between two equal neighbors: `frames_needed`. Its likelihood is 0 with fewer.

    Raises:
      ValueError: shapes or dtypes do not fit, or the time axis is cut over devices.

    >>> import jax.numpy as jnp
    >>> logits = jnp.zeros((2, 3, 4))  # 5 alignments of one label with three time steps
    >>> nats, feasible = ctc_loss(logits, jnp.array([[2, -1], [2, 2]]))
    >>> print(jnp.exp(-nats).round(4), feasible)
    [0.0938 0.0156] [ True  True]
    """
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    require_floating(logits=logits)
    require_shape("labels", labels, (*logits.shape[:-2], *labels.shape[-1:]), "with logits' batch")
    frames = frame_counts(mask, logits.shape[:-1])
    require_whole_time("logits", logits)
    feasible = frames >= frames_needed(labels)
    batch, (time, classes) = logits.shape[:-2], logits.shape[-2:]
    if time == 0:
        return CTCLoss(jnp.zeros(batch, accumulation_dtype(logits.dtype)), feasible)
    dtype = accumulation_dtype(logits.dtype)
    examples = math.prod(batch)
    padding = jnp.arange(time, dtype=jnp.int32)[None] >= frames.reshape(examples, 1)
    # Without NaN in padding, which optax multiplies by 0.
    logits = logits.reshape(examples, time, classes).astype(dtype)
    logits = jnp.where(padding[..., None], 0, logits)
    # One more column: optax does not accept labels without any.
    labels = labels.reshape(examples, labels.shape[-1])
    labels = jnp.pad(labels, ((0, 0), (0, 1)), constant_values=NO_LABEL)
    # optax mixes float32 with other dtypes, and selects log probabilities by a matrix product.
    with jax.numpy_dtype_promotion("standard"), jax.default_matmul_precision("highest"):
        nats = optax.ctc_loss(
            logits,
            padding.astype(dtype),
            jnp.maximum(labels, BLANK),
            (labels < 0).astype(dtype),
            blank_id=BLANK,
        )
    return CTCLoss(jnp.where(feasible, nats.reshape(batch).astype(dtype), 0), feasible)


def frames_needed(labels: Int[Array, "*batch label_time"]) -> Int[Array, "*batch"]:
    """Returns the number of time steps that CTC needs for each sequence of labels.

    >>> import jax.numpy as jnp
    >>> frames_needed(jnp.array([[2, 2, 5], [2, -1, -1]])).tolist()
    [4, 1]
    """
    is_label = labels >= 0
    repeats = (labels[..., 1:] == labels[..., :-1]) & is_label[..., 1:]
    return jnp.sum(is_label, -1, dtype=jnp.int32) + jnp.sum(repeats, -1, dtype=jnp.int32)


def ctc_emissions(
    classes: Int[Array, "*batch time"],
    mask: Bool[Array, "*batch time"] | None = None,
    before: Int[Array, "*batch"] | None = None,
) -> Int[Array, "*batch time"]:
    """Returns the label that each time step of an alignment adds; negative where it adds none.

    Args:
      classes: the class of each time step.
      mask: False in padding, which adds no label.
      before: the class of the time step before the first one; None is the blank.

    >>> import jax.numpy as jnp
    >>> ctc_emissions(jnp.array([0, 3, 3, 0, 3])).tolist()
    [-1, 3, -1, -1, 3]
    """
    first = jnp.zeros_like(classes[..., :1]) if before is None else jnp.expand_dims(before, -1)
    previous = jnp.concatenate([first.astype(classes.dtype), classes], -1)[..., :-1]
    adds = (classes != BLANK) & (classes != previous)
    if mask is not None:
        adds = adds & mask
    return jnp.where(adds, classes, NO_LABEL)


def ctc_best_path(
    logits: Float[Array, "*batch time classes"], mask: Bool[Array, "*batch time"] | None = None
) -> Int[Array, "*batch time"]:
    """Returns the labels of the most likely alignment: greedy decoding.

    Arguments are those of `ctc_loss`. A task decodes with it; `rnnlab.models.decoding.ctc` has
    streaming and prefix beam search.

    Returns:
      The labels of each sequence, negative after its end.

    >>> import jax
    >>> ctc_best_path(jax.nn.one_hot([2, 2, 0, 1], 3)).tolist()
    [2, 1, -1, -1]
    """
    classes = jnp.argmax(logits, -1).astype(jnp.int32)
    return left_align(ctc_emissions(classes, mask))


def require_whole_time(name: str, *arrays: Array) -> None:
    """Raises ValueError inside `jax.shard_map` if the time axis of arrays is cut over devices."""
    if time_axis(*arrays) is not None:
        raise ValueError(
            f"{name} must hold all time steps, got a part of a time axis that is cut over devices; "
            "remove --mesh.time"
        )
