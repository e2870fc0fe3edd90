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
