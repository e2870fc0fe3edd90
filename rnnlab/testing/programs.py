"""The inputs and the compiled functions that the checks of `rnnlab.testing.cells` share.

Compiled functions are keyed by the cell's graph definition and by shapes. The checks use few
shapes, so that few programs are compiled.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from rnnlab.call_validation import gap_option
from rnnlab.dtypes import accumulation_dtype
from rnnlab.recurrent import module_dtype

LENGTH = 8
"""Time steps of the sequences. Their halves have one shape, so one program serves both."""


def prepare(
    cell: nnx.Module, key: Array, batch: tuple[int, ...]
) -> tuple[Callable[..., Any], Any, Array]:
    """Returns `call(function, *arguments)` for the cell, a random carry and random inputs."""
    carry_key, xs_key = jax.random.split(key)
    carry = cell.initial_carry(batch)
    leaves, treedef = jax.tree.flatten(carry)
    keys = jax.random.split(carry_key, len(leaves))
    leaves = [c + jax.random.normal(k, c.shape, c.dtype) for c, k in zip(leaves, keys, strict=True)]
    # In the cell's dtype, so that its tolerance holds for gradients of the inputs too.
    xs = jax.random.normal(xs_key, (*batch, LENGTH, cell.in_features), jnp.float32)
    xs = xs.astype(module_dtype(cell))
    graphdef, params = nnx.split(without_dropout(cell))

    def call(function, *arguments):
        return function(graphdef, params, *arguments)

    return call, jax.tree.unflatten(treedef, leaves), xs


def without_dropout(cell: nnx.Module) -> nnx.Module:
    """Returns a copy of the cell in evaluation mode, in which the contract holds without a key."""
    copy = nnx.merge(*nnx.split(cell), copy=True)
    copy.eval()
    return copy


@partial(jax.jit, static_argnums=0)
def run(graphdef, params, carry, xs, reset=None, mask=None):
    """Returns the results of a call of the cell."""
    cell = nnx.merge(graphdef, params, copy=True)
    return cell(carry, xs, reset=reset, mask=mask, **gaps(cell, xs))


def gaps(cell: nnx.Module, xs: Array) -> dict[str, Array | None]:
    """Returns gaps for a cell that uses them, taken from the inputs and therefore cut with them."""
    return gap_option(cell, jnp.abs(xs[..., 0]).astype(jnp.float32))


def run_flagged(call, carry, xs, reset=None, mask=None):
    """Returns the results of a call with both flags; one that is None is replaced by a no-op.

    One program then serves all calls with flags.
    """
    reset = no_reset(xs) if reset is None else reset
    mask = jnp.ones(xs.shape[:-1], bool) if mask is None else mask
    return call(run, carry, xs, reset, mask)


def no_reset(xs):
    """Returns flags that reset nothing."""
    return jnp.zeros(xs.shape[:-1], bool)


@partial(jax.jit, static_argnums=0)
def fold(graphdef, params, carry, xs, reset, mask):
    """Returns the results of `run`, computed by `step`."""
    cell = nnx.merge(graphdef, params, copy=True)

    def body(carry, inputs):
        x, reset, mask = inputs
        return cell.step(carry, x, reset=reset, mask=mask, **gaps(cell, x))

    time_first = tuple(jnp.moveaxis(x, 1, 0) for x in (xs, reset, mask))
    carry, ys = lax.scan(body, carry, time_first)
    return carry, jnp.moveaxis(ys, 0, 1)


@partial(jax.jit, static_argnums=0)
def gradient(graphdef, params, carry, xs, weights, reset):
    """Returns the gradient with respect to xs of a sum of the outputs, each with its own weight."""

    def loss(xs):
        ys = _widen(run(graphdef, params, carry, xs, reset)[1])
        # NaN outputs are omitted, so that the other outputs' gradients show what they reach.
        return jnp.sum(jnp.where(jnp.isnan(ys), 0 * ys, weights.astype(ys.dtype) * jnp.sin(ys)))

    return jax.grad(loss)(xs)


@partial(jax.jit, static_argnums=0)
def step_gradient(graphdef, params, carry, x, reset):
    """Returns the gradient of a scalar of the first example's output of `step`."""
    cell = nnx.merge(graphdef, params, copy=True)

    def loss(x):
        ys = cell.step(carry, x, reset=reset, **gaps(cell, x))[1]
        return jnp.sum(jnp.sin(_widen(ys[0])))

    return jax.grad(loss)(x)


@partial(jax.jit, static_argnums=0)
def loss_and_gradients(graphdef, params, carry, xs, mask):
    """Returns a scalar of carry and outputs, and its gradients with respect to params and xs."""

    def loss(params, xs):
        leaves = jax.tree.leaves(run(graphdef, params, carry, xs, None, mask))
        return sum(jnp.sum(jnp.sin(_real(_widen(y)))) for y in leaves)

    return jax.value_and_grad(loss, (0, 1))(params, xs)


def flags(xs):
    """Returns resets and masks of two sequences, the second with padding from time step 6 on.

    Each has two resets, one of them in that padding.
    """
    reset = jnp.zeros(xs.shape[:-1], bool).at[:, 2].set(True).at[:, 7].set(True)
    return reset, jnp.arange(LENGTH)[None] < jnp.array([[LENGTH], [6]])


def output_weights(ys: Array) -> Array:
    """Returns a different weight for each output."""
    return 1 + 0.1 * jnp.arange(ys.size, dtype=jnp.float32).reshape(ys.shape)


def example_of(tree: Any, k: int) -> Any:
    """Returns the k-th example of a batch of arrays."""
    return jax.tree.map(lambda x: x[k], tree)


def _real(y):
    return y.real + y.imag if jnp.iscomplexobj(y) else y


def _widen(y):
    return y.astype(accumulation_dtype(y.dtype))
