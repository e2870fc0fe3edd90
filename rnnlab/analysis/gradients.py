"""Gradient flow: how much of a loss's gradient reaches the states of earlier time steps."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Bool, Float

from rnnlab.analysis._batching import (
    batch_axes,
    call_options,
    cast_carry,
    check_steps,
    time_first,
    time_last,
)
from rnnlab.analysis._norms import l2_norm
from rnnlab.analysis.layers import layers, map_cells, reads_backward
from rnnlab.call_validation import uses_gaps
from rnnlab.layers.bidirectional import reverse_time
from rnnlab.recurrent import Recurrent, module_dtype


def state_gradients(
    model: nnx.Module,
    carry: Any,
    xs: Array,
    loss: Callable[[Array], Array],
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
    gaps: Float[Array, "*batch time"] | None = None,
) -> Any:
    """The gradient of a loss with respect to the state that each time step reads.

    Args:
      model: a cell or model with `step`.
      carry, xs, reset, mask, gaps: arguments of its call.
      loss: maps the outputs (*batch, time, features) to one number. The compiled program is cached
        by this function: pass the same one again instead of a new lambda.

    Returns:
      A tree like the carry, with arrays (*batch, time, ...). Entry t is the gradient with respect
      to the carry that time step t reads, along all paths through later time steps.

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
    carry = cast_carry(model, carry, xs)
    options = call_options(model, xs, reset, mask, gaps)
    return _gradients(graphdef, axes, loss, params, carry, xs, options)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _gradients(graphdef, axes, loss, params, carry, xs, options):
    model = nnx.merge(graphdef, params, copy=True)
    inputs = jax.tree.map(time_first(axes), (xs, options))

    def shifted_loss(shifts):
        """The loss if a shift is added to the state that each time step reads."""

        def body(carry, at):
            (x, options), shift = at
            carry = jax.tree.map(jnp.add, carry, shift)
            return model.step(carry, x, **options)

        ys = lax.scan(body, carry, (inputs, shifts))[1]
        return loss(time_last(axes)(ys))

    zeros = jax.tree.map(lambda c: jnp.zeros((len(inputs[0]), *c.shape), c.dtype), carry)
    return jax.tree.map(time_last(axes), jax.grad(shifted_loss)(zeros))


def gradient_flow(
    model: nnx.Module,
    carry: Any,
    xs: Array,
    loss: Callable[[Array], Array],
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
    gaps: Float[Array, "*batch time"] | None = None,
) -> dict[str, Float[Array, "*batch time"]]:
    """The norm of the gradient with respect to each cell's state per time step.

    Entry t is that of the state that the cell reads at time step t: of the state after the steps
    before it, and for the backward cell of a `Bidirectional` after the steps behind it.

    Args:
      model: a module that keeps the contract; it may be bidirectional.
      carry, xs, reset, mask, gaps: arguments of its call.
      loss: as for `state_gradients`.

    Returns:
      Norms by the name of each cell in `layers`.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import GRU, Stack
    >>> rngs = nnx.Rngs(0)
    >>> stack = Stack([GRU(3, 4, rngs=rngs), GRU(4, 4, rngs=rngs)])
    >>> flow = gradient_flow(stack, stack.initial_carry(()), jnp.ones((7, 3)), lambda ys: ys[-1, 0])
    >>> {name: norms.shape for name, norms in flow.items()}
    {'layer 1': (7,), 'layer 2': (7,)}
    """
    graphdef, params = nnx.split(model)
    axes = batch_axes(model, xs)
    check_steps(xs, axes)
    carry = cast_carry(model, carry, xs)
    options = call_options(model, xs, reset, mask, gaps)
    found = _cell_gradients(graphdef, loss, params, carry, xs, options)
    norms = {}
    for (name, _, _), gradient in zip(layers(model, carry), found, strict=True):
        flat = [g.reshape(*g.shape[: axes + 1], -1) for g in jax.tree.leaves(gradient)]
        norm = l2_norm(jnp.concatenate(flat, -1))
        if reads_backward(name):
            norm = reverse_time(norm[..., None], mask)[..., 0]
        norms[name] = norm
    return norms


@partial(jax.jit, static_argnums=(0, 1))
def _cell_gradients(graphdef, loss, params, carry, xs, options):
    """The gradients of the states that each cell reads, in its reading order."""

    def shifted_loss(shifts):
        model, remaining = nnx.merge(graphdef, params, copy=True), iter(shifts)
        model = map_cells(model, lambda cell: _ShiftedCell(cell, next(remaining)))
        return loss(model(carry, xs, **options)[1])

    def zeros(c):
        shape = (*c.shape[:axes], xs.shape[axes], *c.shape[axes:])
        return jnp.zeros(shape, c.dtype)

    model = nnx.merge(graphdef, params, copy=True)
    axes = batch_axes(model, xs)
    return jax.grad(shifted_loss)([jax.tree.map(zeros, c) for _, _, c in layers(model, carry)])


class _ShiftedCell(Recurrent):
    """A cell to whose state a shift is added before each time step."""

    def __init__(self, cell: nnx.Module, shifts: Any):
        self.in_features, self.features = cell.in_features, cell.features
        self.dtype = module_dtype(cell)
        self.cell = cell
        self.shifts = nnx.data(shifts)

    def initial_carry(self, batch_shape):
        return self.cell.initial_carry(batch_shape)

    @property
    def uses_gaps(self) -> bool:
        return uses_gaps(self.cell)

    def run_sequence(self, carry, xs, reset, mask, key, gaps=None):
        axes = xs.ndim - 2

        def body(carry, at):
            x, options, shift = at
            carry = jax.tree.map(jnp.add, carry, shift)
            return self.cell.step(carry, x, **options)

        options = call_options(self, xs, reset, mask, gaps)
        inputs = jax.tree.map(time_first(axes), (xs, options, self.shifts))
        carry, ys = lax.scan(body, carry, inputs)
        return carry, time_last(axes)(ys)
