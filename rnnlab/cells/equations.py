"""The form in which a classic cell gives its step to those that run it over time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike


class Equations(NamedTuple):
    """A classic cell's step. All of it works over any leading axes.

    `pre` is the projected input, and the weights are the recurrent kernel and, in the GRU, the bias
    of the candidate's recurrent part.

    Attributes:
      step: `(carry, pre, *weights) -> carry`.
      factors: `(carry, pre, *weights) -> (p, q)`, each like a carry: the derivative of a unit's new
        states by its old ones is taken to be the product `p q'`. See `rnnlab.cells.newton`.
    """

    step: Callable[..., Any]
    factors: Callable[..., tuple[Any, Any]]


def output(carry: Any) -> Array:
    """The state that a classic cell puts out and its matmul reads: the last one of its carry."""
    return carry[-1] if isinstance(carry, tuple) else carry


def recurrent_dot(h: Array, kernel: Array, dtype: DTypeLike) -> Array:
    """`h @ kernel` with operands in `dtype` and the sum in h's.

    The kernel is narrowed here and not before the loop, so that its cotangent is summed over time
    in its own dtype: in bfloat16 that sum loses its digits within a few thousand steps.
    """
    operands = h.astype(dtype), kernel.astype(dtype)
    return jnp.matmul(*operands, preferred_element_type=h.dtype)


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
