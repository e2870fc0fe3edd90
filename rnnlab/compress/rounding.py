"""Round weights to a few integers times a scale, on arrays of JAX."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int8

from rnnlab.bundle.encodings import Integers

CLIPS = np.linspace(1.0, 0.4, 25, dtype=np.float32)
"""The largest magnitude that is kept, relative to the largest weight of a group: candidates."""


def encode(name: str, array: Float[Array, "..."], encoding: Integers) -> dict[str, np.ndarray]:
    """Returns the arrays of a parameter as integers and scales, rounded to the nearest.

    Each scale is the one of several that leaves the smallest squared error in its group: with few
    bits it pays to clip the largest weights.

    >>> stored = encode("kernel", jnp.array([[1.0], [-3.5]]), Integers(8))
    >>> stored["kernel.integers"].tolist(), round(float(stored["kernel.scales"][0, 0]), 4)
    ([[36, -127]], 0.0276)
    """
    integers, scales = jax.device_get(_encode_rows(array, encoding))
    return encoding.arrays(name, integers, scales)


def rounded(array: Float[Array, "..."], encoding: Integers) -> Float[Array, "..."]:
    """Returns the values that `encode` stores of an array, with the gradient of the identity.

    Source: Bengio et al., arXiv 1308.3432, for the straight-through gradient.

    >>> print(rounded(jnp.array([[0.1], [7.0]]), Integers(4)).ravel())
    [0. 7.]
    """
    x = lax.stop_gradient(array)
    groups = _grouped(x, encoding)
    scales = _best_scales(groups, encoding.bits)[..., None]
    rows = (_integers(groups, scales, encoding.bits) * scales).reshape(len(groups), -1)
    moved = jnp.moveaxis(x, encoding.channel_axis, 0)
    rows = rows[:, : x.size // len(groups)].reshape(moved.shape)
    values = jnp.moveaxis(rows, 0, encoding.channel_axis).astype(x.dtype)
    return values + (array - x)  # the difference is 0 and has the gradient 1


@partial(jax.jit, static_argnums=1)
def _encode_rows(
    array: Array, encoding: Integers
) -> tuple[Int8[Array, "channels inputs"], Float[Array, "channels groups"]]:
    groups = _grouped(array, encoding)
    scales = _best_scales(groups, encoding.bits)
    integers = _integers(groups, scales[..., None], encoding.bits).astype(jnp.int8)
    inputs = array.size // len(groups)
    return integers.reshape(len(groups), -1)[:, :inputs], scales


def _grouped(array: Array, encoding: Integers) -> Float[Array, "channels groups group"]:
    """Returns float32 weights by channel and group; the last group is padded with zeros."""
    rows = jnp.moveaxis(array.astype(jnp.float32), encoding.channel_axis, 0)
    rows = rows.reshape(len(rows), -1)
    _, _, group = encoding.sizes(array.shape)
    rows = jnp.pad(rows, ((0, 0), (0, -rows.shape[-1] % group)))
    return rows.reshape(len(rows), -1, group)


def _best_scales(
    groups: Float[Array, "channels groups group"], bits: int
) -> Float[Array, "channels groups"]:
    largest = jnp.max(jnp.abs(groups), -1)
    clips = jnp.asarray(CLIPS)

    def scale_of(k: Array | int) -> Array:
        scales = largest * clips[k] / (2 ** (bits - 1) - 1)
        # Of an empty group any scale is right; a subnormal one could be flushed to 0.
        return jnp.where(scales < jnp.finfo(jnp.float32).tiny, 1, scales)

    def better(k: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
        scales = scale_of(k)
        values = _integers(groups, scales[..., None], bits) * scales[..., None]
        errors = jnp.sum(jnp.square(values - groups), -1)
        improves = errors < best[0]
        return jnp.where(improves, errors, best[0]), jnp.where(improves, scales, best[1])

    start = jnp.full_like(largest, jnp.inf), scale_of(0)
    return lax.fori_loop(0, len(CLIPS), better, start)[1]


def _integers(groups: Array, scales: Array, bits: int) -> Array:
    top = 2 ** (bits - 1) - 1
    return jnp.clip(jnp.round(groups / scales), -top, top)
