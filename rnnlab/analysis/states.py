"""The states that a cell or model passes through, and the room that they take."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Bool, Float

from rnnlab.analysis._batching import batch_axes, time_behind, time_first, typed
from rnnlab.dtypes import accumulation_dtype
from rnnlab.validation import require_positive_int


def states(
    model: nnx.Module,
    carry: Any,
    xs: Array,
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
) -> Any:
    """The carry after every step: leaves (*batch, time, ...) where the carry's are (*batch, ...).

    Args:
      model: a cell or model that can `step`.
      carry, xs, reset, mask: what it is called with.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import LSTM
    >>> cell = LSTM(3, 4, rngs=nnx.Rngs(0))
    >>> states(cell, cell.initial_carry((2,)), jnp.ones((2, 7, 3))).c.shape
    (2, 7, 4)
    """
    graphdef, params = nnx.split(model)
    carry = typed(model, carry, xs)
    return _states(graphdef, batch_axes(model, xs), params, carry, xs, reset, mask)


@partial(jax.jit, static_argnums=(0, 1))
def _states(graphdef, axes, params, carry, xs, reset, mask):
    model = nnx.merge(graphdef, params, copy=True)

    def body(carry, row):
        x, reset, mask = row
        carry, _ = model.step(carry, x, reset=reset, mask=mask)
        return carry, carry

    carries = lax.scan(body, carry, jax.tree.map(time_first(axes), (xs, reset, mask)))[1]
    return jax.tree.map(time_behind(axes), carries)


class Components(NamedTuple):
    """Principal components.

    Attributes:
      projected: (*batch, time, count), the states in the components' coordinates, centred.
      share: (count,), of the whole variance, the largest first.
      directions: (count, features), of length 1; the largest entry of each is positive.
    """

    projected: Float[Array, "*batch time count"]
    share: Float[Array, " count"]
    directions: Float[Array, "count features"]


def principal_components(h: Float[Array, "*batch time features"], count: int = 2) -> Components:
    """The directions along which states vary most, over all steps of all sequences.

    Raises:
      ValueError: there are fewer features or steps than components.

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
            f"count is {count}; at most {min(rows.shape)} is possible for {rows.shape[0]} steps of "
            f"{rows.shape[1]} features"
        )
    centre = rows.mean(0, keepdims=True)
    _, sizes, directions = jnp.linalg.svd(rows - centre, full_matrices=False)
    chosen = directions[:count]
    largest = jnp.take_along_axis(chosen, jnp.argmax(jnp.abs(chosen), -1, keepdims=True), -1)
    chosen = chosen * jnp.sign(largest)
    variance = _relative(sizes) ** 2
    share = variance[:count] / jnp.maximum(jnp.sum(variance), 1)
    projected = (rows - centre) @ chosen.T
    return Components(projected.reshape(*h.shape[:-1], count), share, chosen)


def participation_ratio(h: Float[Array, "*batch time features"]) -> Float[Array, ""]:
    """The effective dimension of states: `(sum of l)^2 / sum of l^2` over the variances l.

    That is k where k directions vary alike and the others not at all, between 1 and `features`; 0
    where nothing varies.

    >>> import jax.numpy as jnp
    >>> participation_ratio(jnp.concatenate([jnp.eye(3), -jnp.eye(3)])).round(4)
    Array(3., dtype=float32)
    """
    rows = h.reshape(-1, h.shape[-1]).astype(accumulation_dtype(h.dtype))
    sizes = jnp.linalg.svd(rows - rows.mean(0, keepdims=True), compute_uv=False)
    variance = _relative(sizes) ** 2
    return jnp.sum(variance) ** 2 / jnp.maximum(jnp.sum(variance**2), 1)


def _relative(sizes):
    """Over the largest, whose square is then 1, or 0 if all are."""
    largest = sizes.max(initial=0)
    return sizes / jnp.where(largest > 0, largest, 1)


def strongest_steps(
    h: Float[Array, "*batch time features"], unit: int, count: int = 10
) -> tuple[Array, ...]:
    """The at most `count` steps at which a unit's state is largest, the largest first.

    Returns the indices of `h` without its last axis, an array (count,) for each of its other axes:
    with the text that was read they show what the unit answers to.

    Raises:
      ValueError: there is no such unit.

    >>> import jax.numpy as jnp
    >>> strongest_steps(jnp.array([[0.1], [0.9], [0.5]]), 0, 2)
    (Array([1, 2], dtype=int32),)
    """
    require_positive_int(count=count)
    if not 0 <= unit < h.shape[-1]:
        raise ValueError(f"unit is {unit}; one of 0 to {h.shape[-1] - 1} is needed")
    values = h[..., unit]
    _, order = lax.top_k(values.reshape(-1), min(count, values.size))
    return jnp.unravel_index(order, values.shape)
