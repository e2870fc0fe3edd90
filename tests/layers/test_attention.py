"""Attention: contract, float64 oracle, torch, sliding window and NaN."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from flax import nnx

from rnnlab import Block
from rnnlab.layers.attention import Attention, apply_rope, attention
from rnnlab.testing import CELL_CHECKS, SEQUENCE_CHECKS, TOLERANCE, assert_close

LAYERS = {
    "window within the length": functools.partial(Attention, 3, 8, heads=2, window=4),
    "block, window beyond it": functools.partial(
        Block, 8, functools.partial(Attention, heads=2, window=32), mlp_expansion=2
    ),
}
QUICK, *REST = LAYERS


@functools.cache
def layer(name):
    return LAYERS[name](rngs=nnx.Rngs(0))


def call(module, xs, **options):
    return module(module.initial_carry(xs.shape[:-2]), xs, **options)[1]


@pytest.mark.usefixtures("quick_compile")
@pytest.mark.parametrize("name", [QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in REST)])
@pytest.mark.parametrize("check", [*SEQUENCE_CHECKS, *CELL_CHECKS])
def test_attention_keeps_the_cell_contract(name, check):
    {**SEQUENCE_CHECKS, **CELL_CHECKS}[check](layer(name), jax.random.key(2))


@pytest.mark.usefixtures("quick_compile")
@pytest.mark.parametrize("dtype", [jnp.bfloat16, pytest.param(jnp.float16, marks=pytest.mark.slow)])
@pytest.mark.parametrize("check", ["sequence_equals_steps", "packed_equals_separate"])
def test_attention_in_16_bits_keeps_the_cell_contract(check, dtype):
    module = LAYERS["window within the length"](rngs=nnx.Rngs(0), dtype=dtype)
    {**SEQUENCE_CHECKS, **CELL_CHECKS}[check](module, jax.random.key(4))


@pytest.mark.parametrize("window", [1, 5, 40])
def test_attention_with_window_and_reset_equals_the_float64_oracle(getkey, window):
    module = Attention(3, 12, rngs=nnx.Rngs(0), heads=3, window=window)
    xs = 2 * jax.random.normal(getkey(), (2, 20, 3))
    reset = jnp.zeros((2, 20), bool).at[1, jnp.array([3, 11])].set(True)
    # In two pieces, so that the second one also reads keys from the window.
    carry, left = module(module.initial_carry((2,)), xs[:, :8], reset=reset[:, :8])
    _, right = module(carry, xs[:, 8:], reset=reset[:, 8:])
    ys = jnp.concatenate([left, right], 1)
    for row in range(2):
        expected = oracles.attention(module.kernel[...], xs[row], 3, window, np.asarray(reset[row]))
        assert oracles.relative_error(ys[row], expected) <= TOLERANCE[jnp.dtype(jnp.float32)]


def test_gradients_equal_finite_differences(x64, getkey):
    """Within float32 precision, because the softmax is computed in float32."""
    module = Attention(2, 4, rngs=nnx.Rngs(0), heads=1, window=3, param_dtype=jnp.float64)
    graphdef, params = nnx.split(module)
    xs = jax.random.normal(getkey(), (6, 2), jnp.float64)
    reset = np.arange(6) == 4
    reset_array = jnp.asarray(reset)

    def loss(params, xs):
        return jnp.sum(jnp.sin(call(nnx.merge(graphdef, params, copy=True), xs, reset=reset_array)))

    def expected(kernel, xs):
        return np.sum(np.sin(oracles.attention(kernel, xs, 1, 3, reset)))

    dparams, dxs = jax.jit(jax.grad(loss, (0, 1)))(params, xs)
    kernel, x = np.asarray(module.kernel[...]), np.asarray(xs)
    dkernel = nnx.to_pure_dict(dparams)["kernel"]
    kernel_difference = oracles.numerical_gradient(lambda k: expected(k, x), kernel)
    xs_difference = oracles.numerical_gradient(lambda v: expected(kernel, v), x)
    assert oracles.relative_error(dkernel, kernel_difference) <= 2e-6
    assert oracles.relative_error(dxs, xs_difference) <= 2e-6


def test_attention_equals_torch(getkey):
    torch = pytest.importorskip("torch")
    q, k, v = (jax.random.normal(getkey(), (2, 7, 12)) for _ in range(3))
    valid, segment = jnp.ones((2, 7)), jnp.zeros((2, 7), jnp.int32)
    ys = attention(q, k, v, valid, segment, heads=3, window=7)

    def heads(x, turned):
        x = x.reshape(2, 7, 3, 4)
        return torch.tensor(np.asarray(apply_rope(x, 0) if turned else x)).transpose(1, 2)

    expected = torch.nn.functional.scaled_dot_product_attention(
        heads(q, True), heads(k, True), heads(v, False), is_causal=True
    )
    assert oracles.relative_error(ys, expected.transpose(1, 2).reshape(2, 7, 12)) <= 2e-6


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_steps_with_a_full_window_equal_the_sequence(getkey, dtype):
    module = Attention(3, 8, rngs=nnx.Rngs(0), heads=2, window=5, dtype=dtype)
    xs = jax.random.normal(getkey(), (2, 40, 3), dtype)
    carry = module.initial_carry((2,))
    after, ys = jax.lax.scan(module.step, carry, jnp.moveaxis(xs, 1, 0))
    assert_close((after, jnp.moveaxis(ys, 0, 1)), module(carry, xs), "steps against the sequence")


def test_a_step_attends_to_exactly_window_steps(getkey):
    module = Attention(3, 8, rngs=nnx.Rngs(0), heads=2, window=5)
    xs = jax.random.normal(getkey(), (12, 3))
    changed = call(module, xs.at[4].add(1))
    same = np.asarray((changed == call(module, xs)).all(-1))
    np.testing.assert_array_equal(same, [t < 4 or t >= 4 + 5 for t in range(12)])


def test_empty_and_filled_windows_in_one_batch_equal_separate_calls(getkey):
    module = layer("window within the length")
    xs = jax.random.normal(getkey(), (2, 6, 3))
    empty = module.initial_carry((1,))
    full, _ = module(empty, xs[1:])
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), empty, full)
    _, ys = module(both, xs)
    assert_close(ys[:1], module(empty, xs[:1])[1], "empty window")
    assert_close(ys[1:], module(full, xs[1:])[1], "filled window")


def test_rope_at_far_positions_is_accurate(getkey):
    q, k = (jax.random.normal(getkey(), (1, 9, 1, 32)) for _ in range(2))

    def products(first):
        return jnp.einsum("btnd,bsnd->ts", apply_rope(q, first), apply_rope(k, first))

    assert_close(products(1_000_000), products(0), "scores far from the start")
    expected = [oracles.rotary(np.asarray(q[0, t, 0], np.float64), 50 + t) for t in range(9)]
    assert oracles.relative_error(apply_rope(q, 50)[0, :, 0], np.stack(expected)) <= 2e-6


def test_nan_input_changes_only_the_steps_that_attend_to_it(getkey):
    module = layer("window within the length")
    xs = jax.random.normal(getkey(), (2, 12, 3))
    clean, with_nan = call(module, xs), call(module, xs.at[0, 5].set(jnp.nan))
    expected = np.zeros((2, 12), bool)
    expected[0, 5 : 5 + 4] = True
    np.testing.assert_array_equal(np.isnan(with_nan).all(-1), expected)
    np.testing.assert_array_equal(with_nan[~expected], clean[~expected])


def test_nan_loss_gives_a_nan_gradient(getkey):
    graphdef, params = nnx.split(layer("window within the length"))
    xs = jax.random.normal(getkey(), (6, 3)).at[2].set(jnp.nan)

    def loss(params):
        return jnp.sum(call(nnx.merge(graphdef, params, copy=True), xs))

    assert jnp.isnan(jax.grad(loss)(params)["kernel"][...]).any()


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (8, {"heads": 3}, "features must be a multiple of 6 .* each of 3 heads.*got 8"),
        (6, {"heads": 2}, "features must be a multiple of 4 .* each of 2 heads.*got 6"),
        (8, {"heads": 0}, "heads must be an int >= 1, got 0"),
        (8, {"window": 0}, "window must be an int >= 1, got 0"),
    ],
)
def test_options_out_of_range_raise_value_error(features, options, message):
    with pytest.raises(ValueError, match=message):
        Attention(3, features, rngs=nnx.Rngs(0), **options)
