"""Variants of a GRU layer for ../cpu_ablations.py."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from cpu_variants import layers
from flax import nnx
from jax import lax

from rnnlab import GRU
from rnnlab.cells.gru import RESET_AFTER
from rnnlab.cells.step_functions import recurrent_gates

SHAPE = (8, 1024, 256)
GRAPHDEF, PARAMS = nnx.split(GRU(SHAPE[2], SHAPE[2], rngs=nnx.Rngs(0)))


def layer(params, xs, dys):
    cell = nnx.merge(GRAPHDEF, params, copy=True)
    return cell(cell.initial_carry(xs.shape[:1]), xs)[1]


def layer_of(states):
    """A layer from a function of the cell and its inputs, time first, to its states."""

    def run(params, xs, dys):
        cell = nnx.merge(GRAPHDEF, params, copy=True)
        return jnp.moveaxis(states(cell, jnp.moveaxis(xs, 1, 0)), 0, 1)

    return run


def over_time(cell, rows, project=lambda row: row, unroll=1):
    """JAX's own `lax.scan` and its gradient; `project` maps a time step to one array per gate."""
    weights = cell.recurrent_kernel[...], cell.candidate_bias[...]

    def body(h, row):
        h = RESET_AFTER.step(h, project(row), *weights)
        return h, h

    start = cell.initial_carry(jax.tree.leaves(rows)[0].shape[1:2])
    return lax.scan(body, start, rows, unroll=unroll)[1]


def one_wide_array(cell, xs):
    return over_time(cell, _projected(cell, xs), _by_gate)


def projected_inside(cell, xs):
    return over_time(cell, xs, lambda x: _by_gate(_projected(cell, x)))


def by_jax(cell, xs, unroll=1):
    return over_time(cell, _of_gates(cell, xs), unroll=unroll)


def gates_kept(cell, xs):
    weights = cell.recurrent_kernel[...], cell.candidate_bias[...]
    return _kept(weights, _of_gates(cell, xs))


@jax.custom_vjp
def _kept(weights, pre):
    return _kept_forward(weights, pre)[0]


def _kept_forward(weights, pre):
    kernel, bias = weights

    def body(h, x):
        sums = RESET_AFTER.preactivations(recurrent_gates(h, kernel, x), x, bias)
        new, pull = jax.vjp(RESET_AFTER.pointwise, h, sums)
        return new, (new, pull)

    hs, pulls = lax.scan(body, jnp.zeros_like(pre[0][0]), pre)[1]
    return hs, (weights, hs, pulls)


def _kept_backward(residuals, dhs):
    (kernel, _), hs, pulls = residuals
    transposed = kernel.T

    def body(dh, at):
        pull, dy = at
        dh, (dr, dz, dn, dinner) = pull(dh + dy)
        return dh + jnp.concatenate([dr, dz, dinner], -1) @ transposed, (dr, dz, dn, dinner)

    rows_ = pulls, dhs
    _, (dr, dz, dn, dinner) = lax.scan(body, jnp.zeros_like(dhs[0]), rows_, reverse=True)
    before = jnp.concatenate([jnp.zeros_like(hs[:1]), hs[:-1]])
    before, *flat = (x.reshape(-1, x.shape[-1]) for x in (before, dr, dz, dinner))
    dkernel = jnp.concatenate([before.T @ d for d in flat], -1)
    return (dkernel, flat[-1].sum(0)), (dr, dz, dn)


_kept.defvjp(_kept_forward, _kept_backward)


def _projected(cell, xs):
    return (xs.reshape(-1, xs.shape[-1]) @ cell.kernel[...] + cell.bias[...]).reshape(
        *xs.shape[:-1], -1
    )


def _by_gate(x):
    return tuple(jnp.split(x, GRU.num_gates, axis=-1))


def _of_gates(cell, xs):
    kernels, biases = (jnp.split(x[...], GRU.num_gates, axis=-1) for x in (cell.kernel, cell.bias))
    return tuple(xs @ kernel + bias for kernel, bias in zip(kernels, biases, strict=True))


def operands() -> tuple[Any, ...]:
    return layers.operands(PARAMS, SHAPE)


GROUPS = {
    "GRU layer, forward": {
        "default": layer,
        "one wide array": layer_of(one_wide_array),
        "projected inside the loop": layer_of(projected_inside),
    },
    "GRU layer, forward and backward": {
        "default": layers.with_gradients(layer),
        "one wide array, JAX's gradient": layers.with_gradients(layer_of(one_wide_array)),
        "projected inside, JAX's gradient": layers.with_gradients(layer_of(projected_inside)),
        "JAX's gradient": layers.with_gradients(layer_of(by_jax)),
        "JAX's gradient, unroll=2": layers.with_gradients(layer_of(partial(by_jax, unroll=2))),
        "gates kept": layers.with_gradients(layer_of(gates_kept)),
    },
}
