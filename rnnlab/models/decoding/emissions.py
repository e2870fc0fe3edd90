"""Labels that each time step emits, as streaming decoders return them, joined to sequences."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Int

from rnnlab.losses.label_sequences import NO_LABEL, left_align


def labels_of(emitted: Int[Array, "*batch time symbols"]) -> Int[Array, "*batch label_time"]:
    """Returns the emitted labels as one sequence per stream, negative after its end.

    Args:
      emitted: labels of each time step, negative where it emits fewer.

    >>> emitted = jnp.array([[-1, -1], [3, 1], [-1, -1], [2, -1]])
    >>> labels_of(emitted).tolist()
    [3, 1, 2, -1, -1, -1, -1, -1]
    """
    return left_align(emitted.reshape(*emitted.shape[:-2], -1))


def emission_times(emitted: Int[Array, "*batch time symbols"]) -> Int[Array, "*batch label_time"]:
    """Returns the number of the time step of each label of `labels_of`, from which delays follow.

    >>> emitted = jnp.array([[-1, -1], [3, 1], [-1, -1], [2, -1]])
    >>> emission_times(emitted).tolist()
    [1, 1, 3, -1, -1, -1, -1, -1]
    """
    time = jnp.arange(emitted.shape[-2], dtype=jnp.int32)[:, None]
    time = jnp.broadcast_to(time, emitted.shape)
    times = jnp.where(emitted >= 0, time, NO_LABEL)
    return left_align(times.reshape(*emitted.shape[:-2], -1))
