"""Gradients and operands of the variants of a layer."""

from typing import Any

import jax


def with_gradients(outputs):
    """`outputs(params, xs, dys)` and the cotangents of parameters and inputs for those of it."""

    def run(params, xs, dys):
        ys, pull = jax.vjp(lambda params, xs: outputs(params, xs, dys), params, xs)
        return ys, pull(dys)

    return run


def operands(params: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Parameters, random inputs, and random cotangents of the outputs."""
    keys = jax.random.split(jax.random.key(0), 2)
    return params, *(jax.random.normal(key, shape) for key in keys)
