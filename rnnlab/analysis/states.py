"""The states of a cell or model over time, and their dimension."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Bool, Float

from rnnlab.analysis._batching import (
    batch_axes,
    call_options,
    cast_carry,
    time_first,
    time_last,
)
from rnnlab.dtypes import accumulation_dtype
from rnnlab.validation import require_positive_int


def states(
    model: nnx.Module,
    carry: Any,
    xs: Array,
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
    gaps: Float[Array, "*batch time"] | None = None,
) -> Any:
    """The carry after every time step, with arrays (*batch, time, ...).

    Args:
      model: a cell or model with `step`.
      carry, xs, reset, mask, gaps: arguments of its call.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import LSTM
    >>> cell = LSTM(3, 4, rngs=nnx.Rngs(0))
    >>> states(cell, cell.initial_carry((2,)), jnp.ones((2, 7, 3))).c.shape
    (2, 7, 4)
    """
    graphdef, params = nnx.split(model)
    carry = cast_carry(model, carry, xs)
    options = call_options(model, xs, reset, mask, gaps)
    return _states(graphdef, batch_axes(model, xs), params, carry, xs, options)


@partial(jax.jit, static_argnums=(0, 1))
def _states(graphdef, axes, params, carry, xs, options):
    model = nnx.merge(graphdef, params, copy=True)

    def body(carry, inputs):
        x, options = inputs
        carry, _ = model.step(carry, x, **options)
        return carry, carry

    carries = lax.scan(body, carry, jax.tree.map(time_first(axes), (xs, options)))[1]
    return jax.tree.map(time_last(axes), carries)


class PCA(NamedTuple):
    """Principal components of states.

    Attributes:
      projected: the centered states in the coordinates of the components.
      explained_variance_ratio: the fraction of the variance per component, in descending order.
      directions: unit vectors; the largest entry of each is positive.
    """

    projected: Float[Array, "*batch time count"]
    explained_variance_ratio: Float[Array, " count"]
    directions: Float[Array, "count features"]


def principal_components(h: Float[Array, "*batch time features"], count: int = 2) -> PCA:
    """The directions along which states vary most, over all time steps of all sequences.

    Raises:
      ValueError: there are fewer features or time steps than components.

    >>> import jax.numpy as jnp
    >>> t = jnp.linspace(-1, 1, 5)
    >>> found = principal_components(jnp.stack([3 * t, 4 * t], -1), 1)
    >>> bool(jnp.allclose(found.directions, jnp.array([[0.6, 0.8]]))), found.projected.shape
    (True, (5, 1))
    """
    require_positive_int(count=count)
    rows = h.reshape(-1, h.shape[-1]).astype(accumulation_dtype(h.dtype))
    if count > min(rows.shape):
        raise ValueError(
            f"count must be <= {min(rows.shape)} for {rows.shape[0]} time steps of {rows.shape[1]} "
            f"features, got {count}"
        )
    centre = rows.mean(0, keepdims=True)
    _, sizes, directions = jnp.linalg.svd(rows - centre, full_matrices=False)
    chosen = directions[:count]
    largest = jnp.take_along_axis(chosen, jnp.argmax(jnp.abs(chosen), -1, keepdims=True), -1)
    chosen = chosen * jnp.sign(largest)
    variance = _normalized(sizes) ** 2
    ratio = variance[:count] / jnp.maximum(jnp.sum(variance), 1)
    projected = (rows - centre) @ chosen.T
    return PCA(projected.reshape(*h.shape[:-1], count), ratio, chosen)


def participation_ratio(h: Float[Array, "*batch time features"]) -> Float[Array, ""]:
    """The effective dimension of states: `(sum of l)^2 / sum of l^2` over the variances l.

    It is k if k directions have equal variance and the others none, between 1 and `features`, and 0
    if nothing varies.

    >>> import jax.numpy as jnp
    >>> participation_ratio(jnp.concatenate([jnp.eye(3), -jnp.eye(3)])).round(4)
    Array(3., dtype=float32)
    """
    rows = h.reshape(-1, h.shape[-1]).astype(accumulation_dtype(h.dtype))
    sizes = jnp.linalg.svd(rows - rows.mean(0, keepdims=True), compute_uv=False)
    variance = _normalized(sizes) ** 2
    return jnp.sum(variance) ** 2 / jnp.maximum(jnp.sum(variance**2), 1)


def _normalized(sizes):
    """Singular values over the largest, or zeros if all are 0: their squares do not overflow."""
    largest = sizes.max(initial=0)
    return sizes / jnp.where(largest > 0, largest, 1)


def top_activating_steps(
    h: Float[Array, "*batch time features"], unit: int, count: int = 10
) -> tuple[Array, ...]:
    """The `count` time steps, or fewer, at which a unit's state is largest, in descending order.

    Returns:
      Indices into `h` without its last axis, one array (count,) per axis. Together with the text
      that was read they show what the unit responds to.

    Raises:
      ValueError: the unit does not exist.

    >>> import jax.numpy as jnp
    >>> top_activating_steps(jnp.array([[0.1], [0.9], [0.5]]), 0, 2)
    (Array([1, 2], dtype=int32),)
    """
    require_positive_int(count=count)
    if not 0 <= unit < h.shape[-1]:
        raise ValueError(f"unit must be in 0 to {h.shape[-1] - 1}, got {unit}")
    values = h[..., unit]
    _, order = lax.top_k(values.reshape(-1), min(count, values.size))
    return jnp.unravel_index(order, values.shape)
