"""Layers that read a fixed number of past inputs; their carry is a window of the last inputs."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from rnnlab.recurrent import Recurrent
from rnnlab.scan.time_shards import from_before, from_last, is_first, place, time_axis


class WindowLayer(Recurrent):
    """Base class of layers whose time step is a sequence of length 1."""

    def run_step(self, carry, x, reset, mask, key):
        reset, mask = (None if flag is None else flag[..., None] for flag in (reset, mask))
        carry, ys = self.run_sequence(carry, x[..., None, :], reset, mask, key)
        return carry, ys[..., 0, :]


def segment_ids(reset: Bool[Array, "*batch time"], size: int) -> Int[Array, "*batch positions"]:
    """Returns the segment numbers of `size` carried positions, all 0, and of the new time steps.

    >>> import jax.numpy as jnp
    >>> print(segment_ids(jnp.array([False, True, False]), 2))
    [0 0 0 1 1]
    """
    number = jnp.cumsum(reset, -1, dtype=jnp.int32)
    carried = jnp.zeros((*number.shape[:-1], size), jnp.int32)
    return jnp.concatenate([carried, number], -1)


def causal_taps(
    window: Float[Array, "*batch size features"],
    xs: Float[Array, "*batch time features"],
    lags: Sequence[int],
    *,
    reset: Bool[Array, "*batch time"] | None = None,
) -> list[Float[Array, "*batch time features"]]:
    """Returns, for each lag up to `size`, the inputs that many steps before each step.

        taps[k][t] = xs[t - lags[k]]

    Inputs before the first step are read from the window. A tap is 0, even if the input was NaN,
    when a reset lies between it and the step.

    Returns:
      One array per lag, in the window's dtype.

    >>> import jax.numpy as jnp
    >>> window, xs = jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [4.0]])
    >>> [x[:, 0].tolist() for x in causal_taps(window, xs, (0, 1, 2))]
    [[3.0, 4.0], [2.0, 3.0], [1.0, 2.0]]
    >>> causal_taps(window, xs, [1], reset=jnp.array([True, False]))[0][:, 0].tolist()
    [0.0, 3.0]
    """
    size, length = window.shape[-2], xs.shape[-2]
    joined = _concatenate_time(window, xs)
    segments = None if reset is None else segment_ids(reset, size)

    def tap_at(lag):
        tap = slice(size - lag, size - lag + length)
        x = joined[..., tap, :]
        if segments is None:
            return x
        same = segments[..., tap] == segments[..., size:]
        return jnp.where(jnp.expand_dims(same, -1), x, 0)

    return [tap_at(lag) for lag in lags]


def entering_window(
    window: Float[Array, "*batch size features"],
    xs: Float[Array, "*batch time features"],
    *,
    reset: Bool[Array, "*batch time"] | None = None,
) -> Float[Array, "*batch size features"]:
    """Returns the window before the first step of `xs`, which is `window` for whole sequences.

    Where the time axis is cut over devices (`rnnlab.scan.time_shards`), `window` is that before the
    first step of all, and every other device receives the last inputs of the device before it.

    Raises:
      ValueError: a device has fewer time steps than the window.
    """
    axis, (size, length) = time_axis(xs, reset), (window.shape[-2], xs.shape[-2])
    if axis is None or size == 0:
        return window
    if length < size:
        raise ValueError(
            f"each device must have at least {size} time steps for a window of that size, got "
            f"{length}; cut time over fewer devices"
        )
    handed_on = _advance(window, xs, reset, None)
    return jnp.where(is_first(axis), window, from_before(handed_on, axis))


def push_window(
    window: Float[Array, "*batch size features"],
    xs: Float[Array, "*batch time features"],
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
) -> Float[Array, "*batch size features"]:
    """Returns the window after `xs`: it ends with the last real input and is 0 before a reset.

    `mask` must be right padding. A reset in padding also clears the window. Where the time axis is
    cut over devices, `window` is the `entering_window`, and the result is that after the last step
    of all.

    >>> import jax.numpy as jnp
    >>> window, xs = jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [4.0]])
    >>> push_window(window, xs)[:, 0].tolist()
    [3.0, 4.0]
    >>> push_window(window, xs, mask=jnp.array([True, False]))[:, 0].tolist()
    [2.0, 3.0]
    """
    pushed, axis = _advance(window, xs, reset, mask), time_axis(xs, reset, mask)
    if axis is None:
        return pushed
    if mask is None:
        return from_last(pushed, axis)
    # The device of each sequence's last real step has its window.
    last = jnp.maximum(lax.psum(jnp.any(mask, -1).astype(jnp.int32), axis) - 1, 0)
    here = place(axis)
    final = lax.psum(jnp.where((here == last)[..., None, None], pushed, 0), axis)
    if reset is None:
        return final
    later_reset = (here > last) & jnp.any(reset, -1)
    cleared = lax.psum(later_reset.astype(jnp.int32), axis) > 0
    return jnp.where(cleared[..., None, None], 0, final)


def _advance(window: Array, xs: Array, reset: Array | None, mask: Array | None) -> Array:
    """Returns the window after `xs` on this device."""
    size, length = window.shape[-2], xs.shape[-2]
    joined = _concatenate_time(window, xs)
    segments = None if reset is None else segment_ids(reset, size)
    if mask is None:
        window = joined[..., length:, :]
        segments = None if segments is None else segments[..., length:]
    else:
        end = jnp.sum(mask, -1, keepdims=True, dtype=jnp.int32)
        indices = end + jnp.arange(size, dtype=jnp.int32).reshape((1,) * (xs.ndim - 2) + (-1,))
        window = jnp.take_along_axis(joined, jnp.expand_dims(indices, -1), axis=-2)
        segments = None if segments is None else jnp.take_along_axis(segments, indices, axis=-1)
    if segments is None:
        return window
    current = jnp.sum(reset, -1, keepdims=True, dtype=jnp.int32)
    return jnp.where(jnp.expand_dims(segments == current, -1), window, 0)


def _concatenate_time(window: Array, xs: Array) -> Array:
    return jnp.concatenate([window, xs.astype(window.dtype)], -2)
