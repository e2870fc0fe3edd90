"""The loop's own gradient is JAX's gradient of the same loop."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from rnnlab import GRU, LSTM, VanillaRNN
from rnnlab.cells.backends import lax_scan
from rnnlab.cells.backends.lax_scan import StepInputs
from rnnlab.testing import assert_close

CELLS = pytest.mark.parametrize("cell", [VanillaRNN, GRU, LSTM])
LENGTH = 9


def problem(cell, getkey, dtype, flagged):
    """The arguments of `lax_scan.scan`, all of which it is differentiated by but the flags."""
    model = cell(4, 4, rngs=nnx.Rngs(0), dtype=dtype, param_dtype=dtype)
    xs = jax.random.normal(getkey(), (3, LENGTH, 4), dtype)
    reset = mask = None
    if flagged:
        reset = jnp.zeros((LENGTH, 3), bool).at[jnp.array([0, 4]), 1].set(True)
        mask = jnp.ones((LENGTH, 3), bool).at[6:, 2].set(False).at[2, 0].set(False)
    carry, init = (
        jax.tree.map(lambda c: jax.random.normal(getkey(), c.shape, c.dtype), c)
        for c in (model.initial_carry((3,)),) * 2
    )
    return (
        model.step_functions,
        (model._weights(), carry, init, model._project_gates(xs)),
        reset,
        mask,
    )


def plain(functions):
    """The same step, whose gradient is JAX's own."""
    kind = type("Plain", (type(functions),), {"single_matmul": False})
    return kind(functions.preactivations, functions.update)


def loss(functions, dtype, reset, mask):
    def run(weights, carry, init, pre):
        last, ys = lax_scan.scan(
            functions, jnp.dtype(dtype), weights, carry, init, StepInputs(pre, reset, mask)
        )
        parts = (*jax.tree.leaves(last), ys)
        return sum(
            jnp.sum(jnp.sin(x.astype(jnp.float32 if x.dtype != jnp.float64 else x.dtype)))
            for x in parts
        )

    return run


PLACES = (0, 1, 2, 3)


def both_gradients(cell, getkey, flagged):
    """Functions from the arguments to the gradients: the loop's own and JAX's."""
    functions, arguments, reset, mask = problem(cell, getkey, jnp.float64, flagged)
    forms = functions, plain(functions)
    return [jax.grad(loss(e, jnp.float64, reset, mask), PLACES) for e in forms], arguments


@CELLS
@pytest.mark.parametrize("flagged", [False, True])
def test_gradients_equal_autodiff(cell, flagged, x64, getkey):
    (found, wanted), arguments = both_gradients(cell, getkey, flagged)
    assert_close(found(*arguments), wanted(*arguments))


@CELLS
def test_second_derivatives_equal_autodiff(cell, x64, getkey):
    (found, wanted), arguments = both_gradients(cell, getkey, flagged=True)

    def second(gradients):
        def length(*arguments):
            return sum(jnp.sum(g**2) for g in jax.tree.leaves(gradients(*arguments)))

        return jax.grad(length, PLACES)(*arguments)

    assert_close(second(found), second(wanted))


@CELLS
def test_bfloat16_gradients_are_as_close_as_autodiff(cell, getkey):
    """Not equal to JAX's, which rounds the kernel's gradient at every step: closer, or as close."""
    functions, arguments, reset, mask = problem(cell, getkey, jnp.bfloat16, True)
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), arguments)
    exact = jax.grad(loss(functions, jnp.float32, reset, mask))(*wide)[0][0]

    def error(functions):
        f = loss(functions, jnp.bfloat16, reset, mask)
        kernel = jax.grad(f)(*arguments)[0][0].astype(jnp.float32)
        return float(jnp.abs(kernel - exact).max() / jnp.abs(exact).max())

    assert error(functions) < max(0.02, 1.5 * error(plain(functions)))


@CELLS
def test_empty_sequence_returns_the_carry(cell, getkey):
    functions, arguments, _, _ = problem(cell, getkey, jnp.float32, False)
    *others, pre = arguments
    pre = jax.tree.map(lambda p: p[:0], pre)
    gradients = jax.grad(loss(functions, jnp.float32, None, None), (0, 1))(*others, pre)
    wanted = jax.tree.map(jnp.cos, others[1])  # of the carry, which comes back as it is
    assert_close(gradients[1], wanted)
    assert not any(jnp.any(g) for g in jax.tree.leaves(gradients[0]))
