"""Cells and layers under `jax.jit` with a sharded batch, without `shard_map`.

XLA partitions the program over the batch. The compiled training step must contain no collective
but the sum of the gradients and of the loss: no device may gather activations.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from rnnlab import CELLS, GRU, Block, MinGRU, Stack, linear_scan
from rnnlab.parallel.collectives import collectives, total_bytes
from rnnlab.scan.pallas import mosaic_tpu, ops
from rnnlab.testing import assert_close

pytestmark = pytest.mark.devices(4)

BATCH, LENGTH = 8, 16
MODULES = {
    **{name: partial(cell, 4, 4) for name, cell in CELLS.items()},
    "gru reset before": partial(GRU, 4, 4, reset_after=False),
    "gru gaps": partial(GRU, 4, 4, gap_decay=True),
    "stack": lambda rngs: Stack(
        [
            Block(4, MinGRU, conv_kernel_size=3, mlp_expansion=2, rngs=rngs),
            Block(4, GRU, rngs=rngs),
        ]
    ),
}
SLOW = ("mamba", "minlstm", "stack")


def mesh():
    return jax.sharding.Mesh(jax.devices()[:4], "data")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in MODULES]
)
def test_training_step_with_a_sharded_batch_sums_only_gradients(name):
    module = MODULES[name](rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(module)

    def loss(params, carry, xs, gaps, reset):
        module = nnx.merge(graphdef, params, copy=True)
        options = {} if gaps is None else {"gaps": gaps}
        return jnp.mean(jnp.square(module(carry, xs, reset=reset, **options)[1]))

    xs = jax.random.normal(jax.random.key(0), (BATCH, LENGTH, 4))
    gaps = jnp.abs(xs[..., 0]) if module.uses_gaps else None
    carry, reset = module.initial_carry(BATCH), xs[..., 0] > 1
    step = jax.value_and_grad(loss)
    single = jax.jit(step)(params, carry, xs, gaps, reset)

    sharded = NamedSharding(mesh(), P("data"))
    params = jax.device_put(params, NamedSharding(mesh(), P()))
    arguments = params, *jax.device_put((carry, xs, gaps, reset), sharded)
    compiled = jax.jit(step).lower(*arguments).compile()
    exchanged = total_bytes(collectives(compiled.as_text()))
    assert set(exchanged) == {"all-reduce"}, exchanged
    gradient = sum(x.nbytes for x in jax.tree.leaves(params))
    # Mamba sums the gradient of its rates in a loop over states, whose program is counted once.
    smallest = 0 if name == "mamba" else gradient
    assert smallest <= exchanged["all-reduce"] <= gradient + 8  # and the loss
    assert_close(compiled(*arguments), single)


@pytest.mark.parametrize("axis", ["batch", "features"])
@pytest.mark.parametrize("backend", ["sequential", "associative"])
def test_scan_and_gradient_with_sharded_inputs_have_no_collective(axis, backend):
    spec = {"batch": P("data"), "features": P(None, None, "data")}[axis]
    keys = jax.random.split(jax.random.key(0), 2)
    a, b = (jax.random.uniform(key, (4, LENGTH, 8)) for key in keys)

    def gradient(a, b):
        return jax.grad(lambda a, b: jnp.sum(linear_scan(a, b, backend=backend) ** 2), (0, 1))(a, b)

    arguments = jax.device_put((a, b), NamedSharding(mesh(), spec))
    compiled = jax.jit(gradient).lower(*arguments).compile()
    assert collectives(compiled.as_text()) == []
    for x, ref in zip(compiled(*arguments), gradient(a, b), strict=True):
        np.testing.assert_allclose(x, ref, rtol=1e-5)


def test_kernel_in_shard_map_without_checks_equals_one_device(monkeypatch):
    kernel = partial(mosaic_tpu.scan_kernel, interpret=True)
    backend = ops.KernelBackend(kernel, mosaic_tpu.BLOCK_FEATURES, lambda *shape: 1)
    monkeypatch.setattr(mosaic_tpu, "TILE_STEPS", 2)
    monkeypatch.setattr(ops, "available_kernels", lambda dtype: {"cpu": backend})
    keys = jax.random.split(jax.random.key(0), 2)
    a, b = (jax.random.uniform(key, (4, 5, 3)) for key in keys)
    scan = partial(linear_scan, backend="pallas")
    spec = P("data")
    cut = jax.shard_map(scan, mesh=mesh(), in_specs=spec, out_specs=spec, check_vma=False)

    def gradient(scan):
        return jax.jit(jax.grad(lambda a, b: jnp.sum(jnp.sin(scan(a, b))), (0, 1)))(a, b)

    for x, ref in zip(gradient(cut), gradient(scan), strict=True):
        np.testing.assert_allclose(x, ref, rtol=1e-6)
