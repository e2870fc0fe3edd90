"""The window of a layer that looks back a fixed number of steps: its last inputs, as a carry."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int


def segments(reset: Bool[Array, "*batch time"], size: int) -> Int[Array, "*batch positions"]:
    """Segment numbers of `size` carried positions, which are in segment 0, and of the new ones.

    >>> import jax.numpy as jnp
    >>> print(segments(jnp.array([False, True, False]), 2))
    [0 0 0 1 1]
    """
    number = jnp.cumsum(reset, -1, dtype=jnp.int32)
    carried = jnp.zeros((*number.shape[:-1], size), jnp.int32)
    return jnp.concatenate([carried, number], -1)


def lagged(
    window: Float[Array, "*batch size features"],
    xs: Float[Array, "*batch time features"],
    lags: Sequence[int],
    *,
    reset: Bool[Array, "*batch time"] | None = None,
) -> list[Float[Array, "*batch time features"]]:
    """For each lag, of at most `size`, the inputs so many steps before each step.

        lagged[k][t] = xs[t - lags[k]], from the window where that is before the first step,
        and 0 where a reset lies between the two, whatever was there

    Returns:
      One array a lag, in the window's dtype.

    >>> import jax.numpy as jnp
    >>> window, xs = jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [4.0]])
    >>> [x[:, 0].tolist() for x in lagged(window, xs, (0, 1, 2))]
    [[3.0, 4.0], [2.0, 3.0], [1.0, 2.0]]
    >>> lagged(window, xs, [1], reset=jnp.array([True, False]))[0][:, 0].tolist()
    [0.0, 3.0]
    """
    size, length = window.shape[-2], xs.shape[-2]
    inputs = _joined(window, xs)
    segment = None if reset is None else segments(reset, size)

    def behind(lag):
        taken = slice(size - lag, size - lag + length)
        x = inputs[..., taken, :]
        if segment is None:
            return x
        same = segment[..., taken] == segment[..., size:]
        return jnp.where(jnp.expand_dims(same, -1), x, 0)

    return [behind(lag) for lag in lags]


def advance(
    window: Float[Array, "*batch size features"],
    xs: Float[Array, "*batch time features"],
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
) -> Float[Array, "*batch size features"]:
    """The window after `xs`: it ends with the last real input, is 0 before the last reset.

    `mask` must be right padding. A reset in padding counts too: it empties the window.

    >>> import jax.numpy as jnp
    >>> window, xs = jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [4.0]])
    >>> advance(window, xs)[:, 0].tolist()
    [3.0, 4.0]
    >>> advance(window, xs, mask=jnp.array([True, False]))[:, 0].tolist()
    [2.0, 3.0]
    """
    size, length = window.shape[-2], xs.shape[-2]
    inputs = _joined(window, xs)
    segment = None if reset is None else segments(reset, size)
    if mask is None:
        window = inputs[..., length:, :]
        segment = None if segment is None else segment[..., length:]
    else:
        end = jnp.sum(mask, -1, keepdims=True, dtype=jnp.int32)
        taken = end + jnp.arange(size, dtype=jnp.int32).reshape((1,) * (xs.ndim - 2) + (-1,))
        window = jnp.take_along_axis(inputs, jnp.expand_dims(taken, -1), axis=-2)
        segment = None if segment is None else jnp.take_along_axis(segment, taken, axis=-1)
    if segment is None:
        return window
    current = jnp.sum(reset, -1, keepdims=True, dtype=jnp.int32)
    return jnp.where(jnp.expand_dims(segment == current, -1), window, 0)


def _joined(window: Array, xs: Array) -> Array:
    return jnp.concatenate([window, xs.astype(window.dtype)], -2)
