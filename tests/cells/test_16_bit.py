"""Sums over time stay wide in 16 bit: gradients of long sequences are those of float32."""

import jax
import jax.numpy as jnp
import oracles
import pytest
from flax import nnx

from rnnlab import CELLS
from rnnlab.testing import TOLERANCE

# Mamba's parameters lie in a tree; tests/cells/test_mamba.py covers its 16-bit states.
NAMES = [name for name in CELLS if name != "mamba"]
CASES = [*((name, jnp.bfloat16) for name in NAMES), ("mingru", jnp.float16), ("lstm", jnp.float16)]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_16_bit_gradients_over_a_thousand_steps_equal_float32(name, dtype, getkey):
    xs = jax.random.normal(getkey(), (1, 1024, 4))

    def gradients(dtype):
        cell = CELLS[name](4, 8, rngs=nnx.Rngs(0), dtype=dtype)
        graphdef, params = nnx.split(cell)

        @jax.jit
        def loss(params, xs):
            model = nnx.merge(graphdef, params, copy=True)
            return jnp.mean(model(model.initial_carry((1,)), xs)[1].astype(jnp.float32))

        return jax.grad(loss)(params, xs)

    wanted, got = (nnx.to_pure_dict(gradients(d)) for d in (jnp.float32, dtype))
    for key in wanted:
        error = oracles.relative_error(got[key], wanted[key])
        assert error <= TOLERANCE[jnp.dtype(dtype)], key
