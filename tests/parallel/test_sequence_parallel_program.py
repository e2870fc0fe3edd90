"""The compiled gradient of a minGRU over a cut time axis: its collectives and its memory."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import lax
from jax.sharding import PartitionSpec as P

from rnnlab import MinGRU
from rnnlab.parallel.collectives import collectives

pytestmark = pytest.mark.devices(8)

BATCH, FEATURES = 2, 8


def compile_gradient(length, devices):
    cell = MinGRU(FEATURES, FEATURES, rngs=nnx.Rngs(0))
    graphdef, parameters = nnx.split(cell)

    def loss(parameters, xs):
        parameters = jax.tree.map(lambda x: lax.pcast(x, "time", to="varying"), parameters)
        _, ys = nnx.merge(graphdef, parameters, copy=True)(xs)
        return lax.psum(jnp.sum(ys**2), "time")

    mesh = jax.sharding.Mesh(jax.devices()[:devices], "time")
    cut = jax.shard_map(loss, mesh=mesh, in_specs=(P(), P(None, "time")), out_specs=P())
    xs = jax.ShapeDtypeStruct((BATCH, length, FEATURES), jnp.float32)
    return jax.jit(jax.grad(cut)).lower(parameters, xs).compile()


def collective_sizes(program):
    """Returns the kind and the bytes of each collective."""
    return sorted((c.kind, c.num_bytes) for c in collectives(program.as_text()))


def test_collectives_of_a_cut_gradient_do_not_grow_with_the_length():
    short, long = (collective_sizes(compile_gradient(length, 8)) for length in (256, 2048))
    assert short == long
    state = 4 * BATCH * FEATURES
    gathered = [size for kind, size in short if kind == "all-gather"]
    assert gathered == [8 * state, 8 * 2 * state]
    assert {kind for kind, _ in short} <= {"all-gather", "all-reduce"}
    parameters = 4 * 2 * (FEATURES * FEATURES + FEATURES)
    assert sum(size for kind, size in short if kind == "all-reduce") <= parameters + 4


def test_memory_of_a_cut_gradient_falls_with_the_devices():
    sizes = {
        devices: compile_gradient(65536, devices).memory_analysis().temp_size_in_bytes
        for devices in (1, 8)
    }
    assert sizes[8] == pytest.approx(sizes[1] / 8, rel=0.15)
