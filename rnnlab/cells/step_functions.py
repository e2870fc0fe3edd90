"""The form in which a classic cell gives its step to those that run it over time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

Gates = tuple[Array, ...]
"""One array for each gate of a cell, in the order of its kernels."""


class Equations(NamedTuple):
    """A classic cell's step. All of it works over any leading axes.

    `pre` is the projected input, one array for each gate, and the weights are the recurrent kernel
    and, in the GRU, the bias of the candidate's recurrent part.

    Attributes:
      step: `(carry, pre, *weights) -> carry`.
      factors: `(carry, pre, *weights) -> (p, q)`, each like a carry: the derivative of a unit's new
        states by its old ones is taken to be the product `p q'`. See
        `rnnlab.cells.backends.newton`.
      sums: `(recurrent, pre, *others) -> sums`, what the gates' functions are applied to, from what
        the state adds to each gate, the projected input, and the weights but the kernel: linear in
        all of them. None where a step has a second matmul behind these functions.
      pointwise: `(carry, sums) -> carry`, the rest of the step, each unit by itself.
    """

    step: Callable[..., Any]
    factors: Callable[..., tuple[Any, Any]]
    sums: Callable[..., Gates] | None = None
    pointwise: Callable[[Any, Gates], Any] | None = None


def with_one_matmul(
    sums: Callable[..., Gates],
    pointwise: Callable[[Any, Gates], Any],
    factors: Callable[..., tuple[Any, Any]],
) -> Equations:
    """Equations whose step is `pointwise` behind `sums` behind one matmul."""

    def step(carry, pre, kernel, *others):
        return pointwise(carry, sums(recurrent_gates(output(carry), kernel, pre), pre, *others))

    return Equations(step, factors, sums, pointwise)


def output(carry: Any) -> Array:
    """The state that a classic cell puts out and its matmul reads: the last one of its carry."""
    return carry[-1] if isinstance(carry, tuple) else carry


def with_output(carry: Any, h: Array) -> Any:
    """The carry with another `output`."""
    return carry._replace(h=h) if isinstance(carry, tuple) else h


def recurrent_dot(h: Array, kernel: Array, dtype: DTypeLike) -> Array:
    """`h @ kernel` with operands in `dtype` and the sum in h's.

    The kernel is narrowed here and not before the loop, so that its cotangent is summed over time
    in its own dtype: in bfloat16 that sum loses its digits within a few thousand steps.
    """
    operands = h.astype(dtype), kernel.astype(dtype)
    return jnp.matmul(*operands, preferred_element_type=h.dtype)


def recurrent_gates(h: Array, kernel: Array, pre: Gates) -> Gates:
    """What the state adds to each gate of `pre`, in h's dtype."""
    return tuple(jnp.split(recurrent_dot(h, kernel, pre[0].dtype), len(pre), axis=-1))


def both(recurrent: Gates, pre: Gates) -> Gates:
    """The sums of a cell that adds the two."""
    return tuple(r + p.astype(r.dtype) for r, p in zip(recurrent, pre, strict=True))


def own_weights(kernel: Array, h: Array) -> list[Array]:
    """What each gate of a unit reads of the unit's own state: the kernel's diagonals, like h."""
    features = len(kernel)
    by_gate = jnp.diagonal(kernel.reshape(features, -1, features), axis1=0, axis2=2)
    return [jnp.broadcast_to(own, h.shape) for own in by_gate]


def where(flag: Array | None, x: Any, y: Any) -> Any:
    """Carries, or trees like them, chosen by a flag that lacks their last axis; None is False."""
    if flag is None:
        return y
    return jax.tree.map(lambda x, y: jnp.where(jnp.expand_dims(flag, -1), x, y), x, y)
