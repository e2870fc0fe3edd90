"""Variants of a minimal layer for ../cpu_ablations.py."""

from typing import Any

import jax.numpy as jnp
from cpu_variants import layers
from flax import nnx

from rnnlab import MinLSTM, gated_scan, linear_scan

SHAPE = (64, 256, 256)
GRAPHDEF, PARAMS = nnx.split(MinLSTM(SHAPE[2], SHAPE[2], rngs=nnx.Rngs(0)))


def layer(cell, xs):
    return cell(cell.initial_carry(xs.shape[:1]), xs)[1]


def gates_outside(cell, xs):
    """The coefficients of all time steps first, then the scan."""
    a, b = cell.coefficients(*cell.preactivations(xs))
    return linear_scan(a, b)


def one_wide_projection(cell, xs):
    """One matmul for all gates, whose result is split."""
    kernels = [getattr(cell, f"{name}_kernel")[...] for name in cell.projections]
    biases = [getattr(cell, f"{name}_bias")[...] for name in cell.projections]
    rows = xs.reshape(-1, xs.shape[-1]) @ jnp.concatenate(kernels, 1) + jnp.concatenate(biases)
    return _gated(cell, jnp.split(rows.reshape(*xs.shape[:-1], -1), len(kernels), -1), xs)


def in_two_halves(cell, xs):
    """Two halves of the batch, one after the other: arrays half as large."""
    half = len(xs) // 2
    return jnp.concatenate([layer(cell, part) for part in (xs[:half], xs[half:])])


def _gated(cell, pre, xs):
    carry = cell.initial_carry(xs.shape[:1])
    return gated_scan(cell.coefficients, pre, carry, reset_state=cell.initial_carry(()))[0]


def training(outputs):
    def of(params, xs, dys):
        return outputs(nnx.merge(GRAPHDEF, params, copy=True), xs)

    return layers.with_gradients(of)


def operands() -> tuple[Any, ...]:
    return layers.operands(PARAMS, SHAPE)


GROUPS = {
    "minLSTM layer, forward and backward": {
        "default": training(layer),
        "gates outside the loop": training(gates_outside),
        "one wide projection": training(one_wide_projection),
        "in two halves of the batch": training(in_two_halves),
    }
}
