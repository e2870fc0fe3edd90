"""The forms that the speedup benchmark compares compute the same thing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from rnnlab.bench import torch_programs, variants
from rnnlab.bench.variants import Problem
from rnnlab.cells import CELLS

pytestmark = pytest.mark.usefixtures("implicit_promotion")


def problem(length=5):
    return Problem(length, batch_size=2, width=3, dtype="float32", device=jax.devices()[0])


def cell_program(name, backend, pass_, problem):
    return variants.form_program(variants.cell_form(name, backend, problem), pass_, problem)


def results(monkeypatch, program, *arguments):
    """What a program's call waits for."""
    seen = []
    monkeypatch.setattr(jax, "block_until_ready", lambda x: seen.append(x))
    program(*arguments).call()
    monkeypatch.undo()
    return seen[-1]


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_the_python_loop_is_the_scan(monkeypatch, name):
    """Same outputs; same parameters and input gradients after a training step."""
    ys = results(monkeypatch, cell_program, name, "auto", "forward", problem())
    looped = results(monkeypatch, variants.loop_program, name, "forward", problem())
    np.testing.assert_allclose(jnp.stack(looped, 1), ys, rtol=1e-5, atol=1e-6)

    params, _, _, dxs = results(monkeypatch, cell_program, name, "auto", "train", problem())
    (looped_params, _), reversed_dxs = results(
        monkeypatch, variants.loop_program, name, "train", problem()
    )
    # Adam's first step has the size of the learning rate whatever the gradient's: compare close.
    for x, y in zip(jax.tree.leaves(looped_params), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(jnp.stack(reversed_dxs[::-1], 1), dxs, rtol=1e-4, atol=1e-7)


def test_a_training_step_updates_parameters_by_their_gradients(monkeypatch):
    p = problem()
    params, _, loss, dxs = results(monkeypatch, cell_program, "mingru", "sequential", "train", p)
    cell = CELLS["mingru"](3, 3, rngs=nnx.Rngs(0))
    graphdef, start = nnx.split(cell)

    def wanted_loss(start, xs):
        model = nnx.merge(graphdef, start, copy=True)
        return jnp.mean(model(model.initial_carry((2,)), xs)[1] ** 2)

    value, (dparams, wanted_dxs) = jax.value_and_grad(wanted_loss, (0, 1))(start, p.inputs())
    updates, _ = variants.OPTIMIZER.update(dparams, variants.OPTIMIZER.init(start), start)
    np.testing.assert_allclose(loss, value, rtol=1e-6)
    np.testing.assert_allclose(dxs, wanted_dxs, rtol=1e-5, atol=1e-7)
    for x, y in zip(
        jax.tree.leaves(params), jax.tree.leaves(optax.apply_updates(start, updates)), strict=True
    ):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("pass_", variants.PASSES)
def test_flax_programs_run(name, pass_):
    variants.form_program(variants.flax_form(name, problem()), pass_, problem()).call()


@pytest.mark.parametrize("name", CELLS)
def test_torch_forms_are_our_cells(name):
    """The torch peers, with our weights, give our outputs: the rows compare equal models."""
    pytest.importorskip("torch")
    p = problem()
    form = torch_programs.torch_form(name, p)
    ours = variants.cell_form(name, "auto", p)
    wanted = ours.outputs(ours.params, p.inputs())
    np.testing.assert_allclose(form.outputs(), wanted, rtol=2e-5, atol=1e-6)
    for pass_ in variants.PASSES:
        torch_programs.torch_program(form, pass_).call()


@pytest.mark.parametrize("name", ["mingru", "minlstm"])
def test_a_minimal_cell_on_any_scan_of_torch(name):
    torch = pytest.importorskip("torch")

    def loop(a, b):
        h, states = torch.zeros_like(a[..., 0]), []
        for t in range(a.shape[-1]):
            h = a[..., t] * h + b[..., t]
            states.append(h)
        return torch.stack(states, -1)

    p = problem()
    ours = variants.plain_form(name, p)
    wanted = ours.outputs(ours.params, p.inputs())
    found = torch_programs.torch_form(name, p, loop).outputs()
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-6)
