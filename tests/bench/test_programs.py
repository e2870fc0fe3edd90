"""The forms that the speedup benchmark compares compute the same thing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from rnnlab.bench import programs, torch_programs
from rnnlab.bench.programs import Problem
from rnnlab.cells import CELLS

pytestmark = pytest.mark.usefixtures("implicit_promotion")


def problem(length=5):
    return Problem(length, batch_size=2, width=3, dtype="float32", device=jax.devices()[0])


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
    ys = results(monkeypatch, programs.cell_program, name, "auto", "forward", problem())
    looped = results(monkeypatch, programs.loop_program, name, "forward", problem())
    np.testing.assert_allclose(jnp.stack(looped, 1), ys, rtol=1e-5, atol=1e-6)

    params, _, _, dxs = results(
        monkeypatch, programs.cell_program, name, "auto", "train", problem()
    )
    (looped_params, _), reversed_dxs = results(
        monkeypatch, programs.loop_program, name, "train", problem()
    )
    # Adam's first step has the size of the learning rate whatever the gradient's: compare close.
    for x, y in zip(jax.tree.leaves(looped_params), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(jnp.stack(reversed_dxs[::-1], 1), dxs, rtol=1e-4, atol=1e-7)


def test_a_training_step_updates_parameters_by_their_gradients(monkeypatch):
    p = problem()
    params, _, loss, dxs = results(
        monkeypatch, programs.cell_program, "mingru", "sequential", "train", p
    )
    cell = CELLS["mingru"](3, 3, rngs=nnx.Rngs(0))
    graphdef, start = nnx.split(cell)

    def wanted_loss(start, xs):
        model = nnx.merge(graphdef, start, copy=True)
        return jnp.mean(model(model.initial_carry((2,)), xs)[1] ** 2)

    value, (dparams, wanted_dxs) = jax.value_and_grad(wanted_loss, (0, 1))(start, p.inputs())
    updates, _ = programs.OPTIMIZER.update(dparams, programs.OPTIMIZER.init(start), start)
    np.testing.assert_allclose(loss, value, rtol=1e-6)
    np.testing.assert_allclose(dxs, wanted_dxs, rtol=1e-5, atol=1e-7)
    for x, y in zip(
        jax.tree.leaves(params), jax.tree.leaves(optax.apply_updates(start, updates)), strict=True
    ):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("pass_", programs.PASSES)
def test_flax_programs_run(name, pass_):
    programs.flax_program(name, pass_, problem()).call()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("pass_", programs.PASSES)
def test_torch_programs_run(name, pass_):
    pytest.importorskip("torch")
    torch_programs.torch_program(name, pass_, problem()).call()


@pytest.mark.parametrize("name", ["mingru", "minlstm"])
def test_the_published_log_form_is_our_cell(name):
    """The torch peer, with our weights, gives our outputs: the rows compare equal models."""
    torch = pytest.importorskip("torch")
    peer = torch_programs.log_space_cell(name, 3, {"dtype": torch.float32})
    cell = CELLS[name](3, 3, rngs=nnx.Rngs(0))
    with torch.no_grad():
        for layer, projection in zip(peer.projections, cell.projections, strict=True):
            kernel = np.asarray(getattr(cell, f"{projection}_kernel")[...])
            layer.weight.copy_(torch.tensor(kernel.T))
            layer.bias.zero_()
        xs = problem().inputs()
        theirs = peer(torch.tensor(np.asarray(xs))).numpy()
    np.testing.assert_allclose(theirs, cell(cell.initial_carry((2,)), xs)[1], rtol=2e-5)
