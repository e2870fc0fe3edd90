"""Every cell's training step lowers for CPU, GPU and TPU together and runs after export."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import export

from rnnlab import CELLS
from rnnlab.testing import assert_close

PLATFORMS = ("cpu", "cuda", "tpu")


def training_step(make, getkey):
    """A step of gradient descent on a list of arrays, and arrays to call it with."""
    cell = make(3, 4, rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(cell)
    carry = jax.tree.map(lambda c: c + 0.5, cell.initial_carry((2,)))
    xs = jax.random.normal(getkey(), (2, 5, 3))
    # A list, since a file knows no class of ours or of Flax's.
    leaves, treedef = jax.tree.flatten((params, carry, xs))

    def loss(params, xs, carry):
        carry, ys = nnx.merge(graphdef, params, copy=True)(carry, xs)
        return sum(jnp.sum(x**2) for x in jax.tree.leaves((carry, ys)))

    @jax.jit
    def step(leaves):
        params, carry, xs = jax.tree.unflatten(treedef, leaves)
        value, (dparams, dxs) = jax.value_and_grad(loss, argnums=(0, 1))(params, xs, carry)
        params = jax.tree.map(lambda p, d: p - 0.1 * d, params, dparams)
        return jax.tree.leaves((value, params, dxs))

    return step, leaves


@pytest.mark.parametrize("name", CELLS)
def test_training_step_exports_for_all_platforms(getkey, name):
    step, leaves = training_step(CELLS[name], getkey)
    exported = export.export(step, platforms=PLATFORMS)(leaves)
    assert exported.platforms == PLATFORMS
    assert_close(jax.jit(exported.call)(leaves), step(leaves), "exported against jitted")


@pytest.mark.parametrize("name", CELLS)
def test_exported_training_step_from_a_file_equals_the_original(getkey, name):
    pytest.importorskip("flatbuffers")
    step, leaves = training_step(CELLS[name], getkey)
    data = export.export(step, platforms=PLATFORMS)(leaves).serialize()
    assert_close(export.deserialize(data).call(leaves), step(leaves), "read back against jitted")


def any_size_program(cell, with_gradients):
    """A call of a cell with resets, exported for any batch size and length, and its arguments."""
    graphdef, params = nnx.split(cell)
    structure = jax.tree.structure((params, cell.initial_carry((1,))))

    def arguments(batch, length):
        xs = jax.random.normal(jax.random.key(0), (batch, length, 3))
        carry = jax.tree.map(lambda c: c + 0.5, cell.initial_carry((batch,)))
        reset = (jnp.arange(length) % 5 == 3)[None] & jnp.ones((batch, 1), bool)
        return jax.tree.leaves((params, carry)), xs, reset

    def call(leaves, xs, reset):
        params, carry = jax.tree.unflatten(structure, leaves)
        return nnx.merge(graphdef, params, copy=True)(carry, xs, reset=reset)

    def loss(leaves, xs, reset):
        return sum(jnp.sum(x**2) for x in jax.tree.leaves(call(leaves, xs, reset)))

    def run(leaves, xs, reset):
        result = jax.value_and_grad(loss, argnums=(0, 1)) if with_gradients else call
        return jax.tree.leaves(result(leaves, xs, reset))

    batch, length = export.symbolic_shape("batch, length")
    symbolic = jax.eval_shape(lambda: arguments(batch, length))
    run = jax.jit(run)
    return jax.jit(export.export(run, platforms=PLATFORMS)(*symbolic).call), run, arguments


@pytest.mark.parametrize("name", CELLS)
def test_call_exported_for_any_size_equals_the_jitted_call(name):
    exported, call, arguments = any_size_program(CELLS[name](3, 4, rngs=nnx.Rngs(0)), False)
    given = arguments(2, 9)
    assert_close(exported(*given), call(*given), "exported against jitted")


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 2, 33])
@pytest.mark.parametrize("name", CELLS)
def test_gradients_exported_for_any_size_equal_the_jitted_gradients(name, length):
    exported, gradients, arguments = any_size_program(CELLS[name](3, 4, rngs=nnx.Rngs(0)), True)
    given = arguments(3, length)
    assert_close(exported(*given), gradients(*given), "exported against jitted")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_newton_exported_for_any_size_equals_the_jitted_call(name):
    cell = CELLS[name](3, 4, rngs=nnx.Rngs(0), backend="newton")
    exported, call, arguments = any_size_program(cell, False)
    given = arguments(2, 9)
    assert_close(exported(*given), call(*given), "exported against jitted")
