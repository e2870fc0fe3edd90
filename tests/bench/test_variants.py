"""The variants of a layer that the benchmarks compare compute the same outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from rnnlab.bench import torch_programs, variants
from rnnlab.bench.base import Workload
from rnnlab.cells import CELLS
from rnnlab.registry import REGISTRY

pytestmark = pytest.mark.usefixtures("implicit_promotion")


def workload(length=5):
    return Workload(length, batch_size=2, width=3, dtype="float32", device=jax.devices()[0])


def cell_program(name, backend, pass_, workload):
    return variants.variant_program(variants.cell_variant(name, backend, workload), pass_, workload)


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_python_loop_outputs_and_gradients_equal_the_scan(name):
    """Same outputs; same parameters and input gradients after a training step."""
    ys = cell_program(name, "auto", "forward", workload()).launch()
    looped = variants.python_loop(name, "forward", workload()).launch()
    np.testing.assert_allclose(jnp.stack(looped, 1), ys, rtol=1e-5, atol=1e-6)

    params, _, _, dxs = cell_program(name, "auto", "train", workload()).launch()
    (looped_params, _), reversed_dxs = variants.python_loop(name, "train", workload()).launch()
    # Adam's first step has the size of the learning rate whatever the gradient's: compare close.
    for x, y in zip(jax.tree.leaves(looped_params), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(jnp.stack(reversed_dxs[::-1], 1), dxs, rtol=1e-4, atol=1e-7)


def test_variant_program_train_returns_updated_parameters_and_gradients():
    p = workload()
    params, _, loss, dxs = cell_program("mingru", "sequential", "train", p).launch()
    cell = CELLS["mingru"](3, 3, rngs=nnx.Rngs(0))
    graphdef, start = nnx.split(cell)

    def expected_loss(start, xs):
        model = nnx.merge(graphdef, start, copy=True)
        return jnp.mean(model(model.initial_carry((2,)), xs)[1] ** 2)

    value, (dparams, expected_dxs) = jax.value_and_grad(expected_loss, (0, 1))(start, p.inputs())
    updates, _ = variants.OPTIMIZER.update(dparams, variants.OPTIMIZER.init(start), start)
    np.testing.assert_allclose(loss, value, rtol=1e-6)
    np.testing.assert_allclose(dxs, expected_dxs, rtol=1e-5, atol=1e-7)
    for x, y in zip(
        jax.tree.leaves(params), jax.tree.leaves(optax.apply_updates(start, updates)), strict=True
    ):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("pass_", variants.PASSES)
def test_flax_variant_of_every_classic_cell_runs(name, pass_):
    variants.variant_program(variants.flax_variant(name, workload()), pass_, workload()).run()


@pytest.mark.parametrize("name", [name for name in CELLS if REGISTRY[name].torch])
def test_torch_variant_outputs_equal_rnnlab_cell(name):
    """The peers in torch, with rnnlab's weights, compute rnnlab's outputs."""
    pytest.importorskip("torch")
    p = workload()
    variant = torch_programs.torch_variant(name, p)
    ours = variants.cell_variant(name, "auto", p)
    expected = ours.outputs(ours.params, p.inputs())
    np.testing.assert_allclose(variant.outputs(), expected, rtol=2e-5, atol=1e-6)
    for pass_ in variants.PASSES:
        torch_programs.torch_program(variant, pass_).run()


@pytest.mark.parametrize("name", ["mingru", "minlstm"])
def test_torch_variant_with_a_scan_equals_rnnlab_cell(name):
    torch = pytest.importorskip("torch")

    def loop(a, b):
        h, states = torch.zeros_like(a[..., 0]), []
        for t in range(a.shape[-1]):
            h = a[..., t] * h + b[..., t]
            states.append(h)
        return torch.stack(states, -1)

    p = workload()
    ours = variants.naive_variant(name, p)
    expected = ours.outputs(ours.params, p.inputs())
    found = torch_programs.torch_variant(name, p, loop).outputs()
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
