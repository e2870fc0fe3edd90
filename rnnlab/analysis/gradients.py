"""How much of a loss reaches the states of earlier steps."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Bool, Float

from rnnlab.analysis._batching import batch_axes, check_steps, time_behind, time_first, typed
from rnnlab.analysis._norms import length
from rnnlab.analysis.layers import layers


def state_gradients(
    model: nnx.Module,
    carry: Any,
    xs: Array,
    loss: Callable[[Array], Array],
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
) -> Any:
    """The gradient of a loss by the state that each step reads.

    Args:
      model: a cell or model that can `step`.
      carry, xs, reset, mask: what it is called with.
      loss: maps the outputs (*batch, time, features) to one number. The function itself is part of
        a compiled program: give the same one again rather than a new lambda.

    Returns a tree like the carry, leaves (*batch, time, ...); at step t the gradient by the carry
    that step t is given, over all paths through it and later steps.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import MinGRU
    >>> cell = MinGRU(3, 4, rngs=nnx.Rngs(0))
    >>> xs = jnp.zeros((3, 3))  # decays of 0.5
    >>> state_gradients(cell, cell.initial_carry(()), xs, lambda ys: ys[-1, 0])[:, 0]
    Array([0.125, 0.25 , 0.5  ], dtype=float32)
    """
    graphdef, params = nnx.split(model)
    axes = batch_axes(model, xs)
    check_steps(xs, axes)
    carry = typed(model, carry, xs)
    return _gradients(graphdef, axes, loss, params, carry, xs, reset, mask)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _gradients(graphdef, axes, loss, params, carry, xs, reset, mask):
    model = nnx.merge(graphdef, params, copy=True)
    rows = jax.tree.map(time_first(axes), (xs, reset, mask))

    def of_shifts(shifts):
        """The loss where every step reads its state shifted."""

        def body(carry, at):
            (x, reset, mask), shift = at
            carry = jax.tree.map(jnp.add, carry, shift)
            return model.step(carry, x, reset=reset, mask=mask)

        ys = lax.scan(body, carry, (rows, shifts))[1]
        return loss(time_behind(axes)(ys))

    none = jax.tree.map(lambda c: jnp.zeros((len(rows[0]), *c.shape), c.dtype), carry)
    return jax.tree.map(time_behind(axes), jax.grad(of_shifts)(none))


def gradient_flow(
    model: nnx.Module,
    carry: Any,
    xs: Array,
    loss: Callable[[Array], Array],
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
) -> dict[str, Float[Array, "*batch time"]]:
    """The norm of a loss's gradient by the state that each step reads, for each cell of a model.

    Arguments are those of `state_gradients`; names are those of `layers`.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import GRU, Stack
    >>> rngs = nnx.Rngs(0)
    >>> stack = Stack([GRU(3, 4, rngs=rngs), GRU(4, 4, rngs=rngs)])
    >>> flow = gradient_flow(stack, stack.initial_carry(()), jnp.ones((7, 3)), lambda ys: ys[-1, 0])
    >>> {name: norms.shape for name, norms in flow.items()}
    {'layer 1': (7,), 'layer 2': (7,)}
    """
    gradients = state_gradients(model, carry, xs, loss, reset=reset, mask=mask)
    axes = batch_axes(model, xs)

    def norm(tree):
        flat = [g.reshape(*g.shape[: axes + 1], -1) for g in jax.tree.leaves(tree)]
        return length(jnp.concatenate(flat, -1))

    return {name: norm(of_cell) for name, _, of_cell in layers(model, gradients)}
