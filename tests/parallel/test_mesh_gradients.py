"""Outputs, last states and gradients of models on a mesh equal those of one device in float64.

Every model has blocks with a convolution and an MLP. Compared are data 8, time 8, model 8 and
2 x 2 x 2, with resets, padding and states that are given.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from rnnlab import Bidirectional, Block, MinGRU, MinLSTM, SequenceModel, Stack
from rnnlab.parallel.gradient import sharded_call, sharded_gradients
from rnnlab.parallel.mesh import MeshConfig
from rnnlab.parallel.placement import Placement
from rnnlab.tasks.batch import Batch

pytestmark = [pytest.mark.devices(8), pytest.mark.usefixtures("x64", "quick_compile")]

EXAMPLES, LENGTH, WIDTH, TOLERANCE = 8, 16, 16, 1e-11
MESHES = {
    "data 8": MeshConfig(data=8),
    "time 8": MeshConfig(time=8),
    "model 8": MeshConfig(model=8),
    "2 x 2 x 2": MeshConfig(data=2, time=2, model=2),
}


def bidirectional(in_features, features, **options):
    return Bidirectional(*(MinGRU(in_features, features, **options) for _ in range(2)))


CELLS = {"mingru": MinGRU, "minlstm": MinLSTM, "bidirectional": bidirectional}
EVERYDAY = ("mingru", "2 x 2 x 2")
CASES = [
    (cell, mesh) if (cell, mesh) == EVERYDAY else pytest.param(cell, mesh, marks=pytest.mark.slow)
    for cell in CELLS
    for mesh in MESHES
]


def make_model(cell):
    options = {"rngs": nnx.Rngs(0), "param_dtype": jnp.float64}
    block = Block(WIDTH, cell, expansion=2, conv_kernel_size=3, mlp_expansion=2, **options)
    return SequenceModel(Stack([block]), 8, in_features=8, **options)


def make_batch():
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(2, EXAMPLES, LENGTH, 8))
    lengths = np.array([16, 9, 0, 5, 16, 1, 8, 15])
    mask = np.arange(LENGTH)[None] < lengths[:, None]
    return Batch(inputs, targets, mask, reset=rng.random((EXAMPLES, LENGTH)) < 0.1)


@pytest.mark.parametrize(("cell", "mesh"), CASES)
def test_outputs_last_states_and_gradients_on_a_mesh_equal_one_device(cell, mesh):
    model, batch = make_model(CELLS[cell]), make_batch()
    graphdef, params = nnx.split(model)
    carry = jax.tree.map(lambda x: x + 0.3, model.initial_carry((EXAMPLES,)))

    def call(params, carry, batch):
        model = nnx.merge(graphdef, params, copy=True)
        return model(carry, batch.inputs, reset=batch.reset, mask=batch.mask)

    def local(params, carry, batches, key):
        batch = jax.tree.map(lambda x: x[0], batches)

        def loss(params):
            after, outputs = call(params, carry, batch)
            # A term of the last states, on one of the devices of time, which all have them.
            states = sum(jnp.sum(jnp.cos(x)) for x in jax.tree.leaves(after))
            axes = jax.sharding.get_abstract_mesh().manual_axes
            first = lax.axis_index("time") == 0 if "time" in axes else True
            value = jnp.sum(jnp.sin(outputs) * batch.targets) + jnp.where(first, states, 0.0)
            return value, after

        (value, after), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        return after, gradient, value

    def outputs(params, batch):
        return call(params, None, batch)[1]

    placement = Placement(MESHES[mesh], params)
    stacked = jax.tree.map(lambda x: x[None], batch)
    on_mesh = (
        jax.device_put(params, placement.parameters(params)),
        jax.device_put(carry, placement.examples),
        jax.device_put(stacked, placement.batch(stacked, stacked=True)),
    )
    key = jax.random.key(0)
    found = jax.jit(sharded_gradients(local, placement))(*on_mesh, key)
    expected = jax.jit(local)(params, carry, stacked, key)
    run = jax.jit(sharded_call(outputs, placement, has_time=True))
    found = found, run(on_mesh[0], placement.put(batch))
    expected = expected, jax.jit(outputs)(params, batch)
    for x, ref in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        error = np.abs(x - ref).max(initial=0) / (np.abs(ref).max(initial=0) or 1)
        assert error <= TOLERANCE, f"relative error {error:.1e} in an array of {ref.shape}"
