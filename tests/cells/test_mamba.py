"""Mamba against a float64 loop over every state, its initialisation and its size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from flax import nnx

from rnnlab import Block, Mamba
from rnnlab.testing import CELL_CHECKS, SEQUENCE_CHECKS, assert_close

SMALL = functools.partial(Mamba, state_size=3)


@functools.cache
def associative_in_a_block():
    cell = functools.partial(SMALL, backend="associative", dt_rank=2)
    return Block(4, cell, expansion=2, rngs=nnx.Rngs(0))


def in_numpy(params):
    return jax.tree.map(np.asarray, nnx.to_pure_dict(params))


def random_layer():
    """A float64 layer away from its initialisation, as graph and parameters, and inputs."""
    module = SMALL(2, 3, rngs=nnx.Rngs(0), dt_rank=2, conv_size=3, param_dtype=jnp.float64)
    graphdef, params = nnx.split(module)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda p: p + 0.5 * rng.normal(size=p.shape), params)
    reset = np.arange(7) == 4
    cut = jnp.asarray(reset)
    xs = rng.normal(size=(7, 2))

    @jax.jit
    def run(params, xs):
        module = nnx.merge(graphdef, params, copy=True)
        return module(module.initial_carry(()), xs, reset=cut)

    return run, params, xs, reset


# The cell with its default options, also in 16 bits: tests/cells/test_contract.py.
@pytest.mark.slow
@pytest.mark.usefixtures("quick_compile")
@pytest.mark.parametrize("check", [*SEQUENCE_CHECKS, *CELL_CHECKS])
def test_associative_mamba_in_a_block_keeps_the_contract(check):
    {**SEQUENCE_CHECKS, **CELL_CHECKS}[check](associative_in_a_block(), jax.random.key(2))


def test_values_equal_the_oracle(x64):
    run, params, xs, reset = random_layer()
    carry, ys = run(params, jnp.asarray(xs))
    wanted, state = oracles.mamba(in_numpy(params), xs, reset)
    assert oracles.relative_error(ys, wanted) <= 1e-12
    assert oracles.relative_error(carry.state, state) <= 1e-12


def test_gradients_equal_finite_differences(x64):
    run, params, xs, reset = random_layer()
    difference = functools.partial(oracles.numerical_gradient, dx=1e-5)

    def loss(params, xs):
        carry, ys = run(params, xs)
        return jnp.sum(jnp.sin(ys)) + jnp.sum(jnp.sin(carry.state))

    def wanted(p, xs):
        ys, state = oracles.mamba(p, xs, reset)
        return np.sum(np.sin(ys)) + np.sum(np.sin(state))

    dparams, dxs = jax.jit(jax.grad(loss, (0, 1)))(params, jnp.asarray(xs))
    p, d = in_numpy(params), in_numpy(dparams)
    for name in ("in_kernel", "x_kernel", "delta_kernel", "delta_bias", "log_rate", "skip"):
        by = difference(lambda v, name=name: wanted(p | {name: v}, xs), p[name])
        assert oracles.relative_error(d[name], by) <= 1e-8, name
    kernel = difference(
        lambda v: wanted(p | {"conv": p["conv"] | {"kernel": v}}, xs), p["conv"]["kernel"]
    )
    assert oracles.relative_error(d["conv"]["kernel"], kernel) <= 1e-8
    assert oracles.relative_error(dxs, difference(lambda v: wanted(p, v), xs)) <= 1e-8


def test_backends_agree(getkey):
    xs = jax.random.normal(getkey(), (2, 33, 8))
    results = []
    for backend in ("sequential", "associative"):
        module = Mamba(8, 16, rngs=nnx.Rngs(0), backend=backend)
        results.append(module(module.initial_carry((2,)), xs))
    assert_close(*results, "associative against sequential")


@pytest.mark.parametrize("width", [16, 40])
def test_number_of_parameters_equals_the_formula(width):
    features, n, taps, rank = 2 * width, 16, 4, -(-width // 16)
    module = Mamba(width, features, rngs=nnx.Rngs(0))
    count = sum(p.size for p in jax.tree.leaves(nnx.state(module, nnx.Param)))
    assert count == (
        2 * width * features  # in
        + (taps + 1) * features  # conv
        + features * (rank + 2 * n)  # to delta, B and C
        + (rank + 1) * features  # delta
        + features * n  # rates
        + features  # skip
    )


def test_step_sizes_start_log_uniform_between_their_bounds():
    module = Mamba(4, 4096, rngs=nnx.Rngs(0))
    delta = np.log10(np.log1p(np.exp(np.asarray(module.delta_bias[...], np.float64))))
    assert delta.min() >= -3 - 1e-4
    assert delta.max() <= -1 + 1e-4
    counts, _ = np.histogram(delta, 8, (-3, -1))
    assert abs(counts / 4096 - 1 / 8).max() < 0.03


def test_rates_start_at_one_to_state_size():
    rates = jnp.exp(SMALL(3, 4, rngs=nnx.Rngs(0)).log_rate[...])
    np.testing.assert_allclose(rates, np.tile([1, 2, 3], (4, 1)), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_size": 0}, "state_size must be an int >= 1, got 0"),
        ({"conv_size": 0}, "conv_size must be an int >= 1, got 0"),
        ({"dt_rank": 0}, "dt_rank must be an int >= 1, got 0"),
        ({"backend": "fast"}, "backend must be one of 'auto'.* got 'fast'"),
    ],
)
def test_options_out_of_range_raise(options, message):
    with pytest.raises(ValueError, match=message):
        Mamba(3, 4, rngs=nnx.Rngs(0), **options)
