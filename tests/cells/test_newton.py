"""Classic cells by `backend="newton"`: equal to the loop, also where they do not converge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import GRU, LSTM, VanillaRNN
from rnnlab.cells.backends import newton

OPTIONS = [
    (VanillaRNN, {}),
    (VanillaRNN, {"activation": "relu"}),
    (GRU, {}),
    (GRU, {"reset_after": False}),
    (LSTM, {}),
]
CELLS = pytest.mark.parametrize(("cell", "options"), OPTIONS, ids=str)
SHORT, LONG = 7, 200
TANH = [(VanillaRNN, {}), (GRU, {}), (LSTM, {})]


def example(length, features=5, scale=1.0):
    keys = jax.random.split(jax.random.key(0), 4)
    xs = scale * jax.random.normal(keys[0], (3, length, features))
    dys = jax.random.normal(keys[1], (3, length, features))
    reset = jax.random.bernoulli(keys[2], 0.05, (3, length)).at[0, 0].set(True)
    lengths = jnp.array([0, length // 2, length])
    return xs, dys, reset, jnp.arange(length)[None] < lengths[:, None]


def build(cell, options, features, backend="newton", gain=1.0):
    init = nnx.initializers.orthogonal(scale=gain)
    return cell(
        features, features, rngs=nnx.Rngs(0), recurrent_init=init, backend=backend, **options
    )


def convergence(cell, options, xs, reset, gain=1.0):
    """The report of the iteration from the carry that `results` starts from."""
    model = build(cell, options, xs.shape[-1], gain=gain)
    carry = jax.tree.map(lambda x: 0.5 + x, model.initial_carry(xs.shape[:-2]))
    return jax.jit(model.newton_info)(carry, xs, reset=reset)


def results(cell, options, backend, xs, dys, reset, mask, gain=1.0):
    """Carry and outputs, and the gradients of parameters, carry and inputs."""
    model = build(cell, options, xs.shape[-1], backend, gain)
    graphdef, params = nnx.split(model)
    carry = jax.tree.map(lambda x: 0.5 + x, model.initial_carry(xs.shape[:-2]))

    @jax.jit
    def run(params, carry, xs):
        def outputs(params, carry, xs):
            return nnx.merge(graphdef, params, copy=True)(carry, xs, reset=reset, mask=mask)

        found, pull = jax.vjp(outputs, params, carry, xs)
        return found, pull((found[0], dys))

    return run(params, carry, xs)


def hold(found, wanted, limit):
    for x, ref in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert jnp.max(jnp.abs(x - ref)) <= limit * jnp.maximum(1, jnp.max(jnp.abs(ref)))


@pytest.mark.parametrize(
    ("cell", "options", "flags"),
    [
        (VanillaRNN, {}, True),
        (GRU, {}, True),
        (LSTM, {}, True),
        pytest.param(LSTM, {}, False, marks=pytest.mark.slow),
        pytest.param(VanillaRNN, {"activation": "relu"}, True, marks=pytest.mark.slow),
        pytest.param(GRU, {"reset_after": False}, True, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_newton_equals_the_loop(quick_compile, cell, options, flags):
    xs, dys, reset, mask = example(SHORT)
    given = (reset, mask) if flags else (None, None)
    found, gradients = results(cell, options, "newton", xs, dys, *given)
    wanted, by_loop = results(cell, options, "scan", xs, dys, *given)
    assert convergence(cell, options, xs, given[0]).converged
    hold(found, wanted, 1e-5)
    hold(gradients, by_loop, 1e-4)


@pytest.mark.parametrize(("cell", "options"), TANH, ids=str)
def test_iterations_do_not_grow_with_time(quick_compile, cell, options):
    # Recurrent weights of norm 0.5: what an error does to later steps dies out.
    xs, dys, _, _ = example(LONG)
    found, gradients = results(cell, options, "newton", xs, dys, None, None, 0.5)
    wanted, by_loop = results(cell, options, "scan", xs, dys, None, None, 0.5)
    report = convergence(cell, options, xs, None, 0.5)
    assert report.converged
    assert report.iterations <= 25  # an eighth of the steps
    hold(found, wanted, 1e-5)
    hold(gradients, by_loop, 1e-4)


def test_chaos_is_reported(quick_compile):
    # Recurrent weights of norm 4: errors grow from step to step.
    report = convergence(VanillaRNN, {}, example(LONG)[0], None, 4.0)
    assert not report.converged
    assert report.iterations == newton.ITERATIONS


def test_without_convergence_the_loop_runs(quick_compile, monkeypatch):
    monkeypatch.setattr(newton, "ITERATIONS", 2)
    # Another length than in the other tests: programs that are cached by shape do not mix.
    xs, dys, reset, _ = example(SHORT + 1)
    found, gradients = results(LSTM, {}, "newton", xs, dys, reset, None)
    wanted, by_loop = results(LSTM, {}, "scan", xs, dys, reset, None)
    assert not convergence(LSTM, {}, xs, reset).converged
    hold(found, wanted, 1e-6)
    hold(gradients, by_loop, 1e-6)


def test_mask_with_gaps_uses_the_loop(quick_compile):
    xs, dys, reset, _ = example(SHORT)
    mask = jnp.ones((3, SHORT), bool).at[1, 2].set(False)
    found, gradients = results(GRU, {}, "newton", xs, dys, reset, mask)
    wanted, by_loop = results(GRU, {}, "scan", xs, dys, reset, mask)
    hold(found, wanted, 1e-6)
    hold(gradients, by_loop, 1e-6)


def test_nan_does_not_pass_a_reset(quick_compile):
    xs, dys, _, _ = example(SHORT)
    reset = jnp.zeros((3, SHORT), bool).at[:, 4].set(True)
    found, _ = results(LSTM, {}, "newton", xs.at[:, 2].set(jnp.nan), dys, reset, None)
    assert jnp.isfinite(found[1][:, 4:]).all()
    assert jnp.isnan(found[1][:, 2:4]).any()


@CELLS
def test_diagonal_jacobian_equals_that_of_one_unit(x64, cell, options):
    model = cell(1, 1, rngs=nnx.Rngs(0), dtype=jnp.float64, param_dtype=jnp.float64, **options)
    weights = model._weights()
    carry = jax.tree.map(lambda x: x + 0.3, model.initial_carry(()))
    pre = tuple(x[0] for x in model._project_gates(jnp.full((1, 1), 0.7)))
    p, q = model.step_functions.diagonal_jacobian(carry, pre, *weights)
    p, q = (jnp.concatenate(jax.tree.leaves(x)) for x in (p, q))
    jacobian = jax.jacfwd(lambda carry: model.step_functions.step(carry, pre, *weights))(carry)
    jacobian = jnp.array([x.item() for x in jax.tree.leaves(jacobian)]).reshape(len(p), len(q))
    if cell is LSTM:  # the product omits what the output gate reads of h
        o = jax.nn.sigmoid(pre[-1] + (carry.h @ weights[0])[-1:])
        c = model.step_functions.step(carry, pre, *weights).c
        missing = o * (1 - o) * weights[0][:, 3] * jnp.tanh(c)
        jacobian = jacobian.at[1, 1].add(-missing[0])
    np.testing.assert_allclose(p[:, None] * q[None, :], jacobian, rtol=1e-12)
