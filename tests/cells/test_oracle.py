"""Every cell against its equations in a float64 NumPy loop: values, carries and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from flax import nnx

from rnnlab import CELLS, GRU, RGLRU, LSTMCarry, MinGRU, MinLSTM, VanillaRNN

VARIANTS = {
    "rnn": (VanillaRNN, oracles.rnn_step, {}, {}),
    "rnn relu": (
        VanillaRNN,
        oracles.rnn_step,
        {"activation": "relu"},
        {"activation": "relu"},
    ),
    "gru": (GRU, oracles.gru_step, {}, {}),
    "gru before": (GRU, oracles.gru_step, {"reset_after": False}, {"reset_after": False}),
    "lstm": (CELLS["lstm"], oracles.lstm_step, {}, {}),
    "rglru": (RGLRU, oracles.rglru_step, {}, {}),
    "rglru heads": (RGLRU, oracles.rglru_step, {"heads": 3}, {}),
}
for _kind in ("positive", "identity", "tanh"):
    for _low in (0, -1):
        _options = {"candidate": _kind, "decay_range": (_low, 1)}
        _reference = {"kind": _kind, "low": _low}
        VARIANTS[f"mingru {_kind} {_low}"] = (
            MinGRU,
            oracles.mingru_step,
            _options,
            _reference,
        )
        VARIANTS[f"minlstm {_kind} {_low}"] = (
            MinLSTM,
            oracles.minlstm_step,
            _options | {"normalize": _low == 0},
            _reference | {"normalize": _low == 0},
        )


def example(name):
    """A cell's graph and random float64 parameters, carry and inputs, with both flags."""
    make, step, options, oracle_options = VARIANTS[name]
    cell = make(2, 3, rngs=nnx.Rngs(0), param_dtype=jnp.float64, **options)
    graphdef, params = nnx.split(cell)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda p: p + 0.3 * rng.normal(size=p.shape), params)
    carry = jax.tree.map(lambda c: jnp.asarray(rng.normal(size=c.shape)), cell.initial_carry((2,)))
    xs = jnp.asarray(rng.normal(size=(2, 4, 2)))
    reset = jnp.array([[0, 0, 1, 0], [1, 0, 0, 0]], bool)
    mask = jnp.array([[1, 1, 1, 1], [1, 1, 0, 1]], bool)
    oracle = functools.partial(
        oracles.run_cell, functools.partial(step, **oracle_options), reset=reset, mask=mask
    )

    def run(params, carry, xs):
        return nnx.merge(graphdef, params, copy=True)(carry, xs, reset=reset, mask=mask)

    return jax.jit(run), oracle, params, carry, xs


def in_numpy(tree):
    """Parameters as the oracle takes them, a carry as its arrays."""
    if isinstance(tree, nnx.State):
        return {k: np.asarray(v) for k, v in nnx.to_pure_dict(tree).items()}
    if isinstance(tree, LSTMCarry):
        return tuple(map(np.asarray, tree))
    return np.asarray(tree)


@pytest.mark.parametrize("name", VARIANTS)
def test_values_equal_the_oracle(x64, name):
    run, oracle, params, carry, xs = example(name)
    got = run(params, carry, xs)
    wanted = oracle(in_numpy(params), in_numpy(carry), np.asarray(xs))
    for x, ref in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert oracles.relative_error(x, ref) <= 1e-12


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_equal_finite_differences(x64, name):
    run, oracle, params, carry, xs = example(name)

    def loss(params, carry, xs):
        return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(run(params, carry, xs)))

    def oracle_loss(params, carry, xs):
        leaves = jax.tree.leaves(oracle(params, carry, xs))
        return sum(np.sum(np.sin(x)) for x in leaves)

    dparams, dcarry, dxs = jax.jit(jax.grad(loss, (0, 1, 2)))(params, carry, xs)
    p, c, x = in_numpy(params), in_numpy(carry), np.asarray(xs)
    for k, got in nnx.to_pure_dict(dparams).items():
        wanted = oracles.numerical_gradient(lambda v, k=k: oracle_loss(p | {k: v}, c, x), p[k])
        assert oracles.relative_error(got, wanted) <= 1e-8, k
    wanted = oracles.numerical_gradient(lambda v: oracle_loss(p, c, v), x)
    assert oracles.relative_error(dxs, wanted) <= 1e-8
    if not isinstance(c, tuple):
        c = (c,)
        dcarry = (dcarry,)
    for k, got in enumerate(dcarry):

        def change(v, k=k):
            states = tuple(v if j == k else s for j, s in enumerate(c))
            return oracle_loss(p, states if len(states) > 1 else states[0], x)

        assert oracles.relative_error(got, oracles.numerical_gradient(change, c[k])) <= 1e-8
