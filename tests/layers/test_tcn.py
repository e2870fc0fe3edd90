"""The temporal block: contract, float64 oracle, torch, receptive field and dropout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from flax import nnx

from rnnlab import Stack
from rnnlab.layers.tcn import DilatedConv, TemporalBlock
from rnnlab.testing import CELL_CHECKS, SEQUENCE_CHECKS

LAYERS = {
    "block": functools.partial(TemporalBlock, 4, kernel_size=3, dilation=2, dropout=0.5),
    "window beyond the length": functools.partial(TemporalBlock, 4, kernel_size=2, dilation=16),
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
def test_temporal_block_keeps_the_cell_contract(name, check):
    {**SEQUENCE_CHECKS, **CELL_CHECKS}[check](layer(name), jax.random.key(2))


@pytest.mark.usefixtures("quick_compile")
@pytest.mark.parametrize("check", ["sequence_equals_steps", "resumes_at_any_cut"])
def test_temporal_block_in_16_bits_keeps_the_cell_contract(check):
    CELL_CHECKS[check](TemporalBlock(4, rngs=nnx.Rngs(0), dtype=jnp.bfloat16), jax.random.key(4))


@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (2, 3), (3, 2)])
def test_outputs_and_gradients_equal_the_float64_oracle(x64, kernel_size, dilation):
    module = TemporalBlock(
        3, rngs=nnx.Rngs(0), kernel_size=kernel_size, dilation=dilation, param_dtype=jnp.float64
    )
    graphdef, params = nnx.split(module)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda p: p + 0.5 * rng.normal(size=p.shape), params)
    xs, reset = rng.normal(size=(9, 3)), np.arange(9) == 4
    reset_array = jnp.asarray(reset)

    def run(params, xs):
        return call(nnx.merge(graphdef, params, copy=True), xs, reset=reset_array)

    p = jax.tree.map(np.asarray, nnx.to_pure_dict(params))
    expected = oracles.temporal_block(p, xs, dilation, reset)
    assert oracles.relative_error(jax.jit(run)(params, jnp.asarray(xs)), expected) <= 1e-12

    gradient = jax.jit(jax.grad(lambda *arguments: jnp.sum(jnp.sin(run(*arguments)))))
    d = nnx.to_pure_dict(gradient(params, jnp.asarray(xs)))
    for name in ("kernel", "scale", "bias"):

        def loss(v, name=name):
            changed = p | {"first": p["first"] | {name: v}}
            return np.sum(np.sin(oracles.temporal_block(changed, xs, dilation, reset)))

        by = oracles.numerical_gradient(loss, p["first"][name])
        assert oracles.relative_error(d["first"][name], by) <= 1e-7, name


def test_dilated_conv_equals_torch(getkey):
    torch = pytest.importorskip("torch")
    conv = DilatedConv(3, 4, 2, rngs=nnx.Rngs(0))
    conv.scale[...] = conv.scale[...] * 1.5
    conv.bias[...] = jax.random.normal(getkey(), (3,))
    theirs = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv1d(3, 3, 4, dilation=2))
    with torch.no_grad():
        # torch orders taps in reverse: the last one reads the newest input.
        kernel = np.asarray(conv.kernel[...])[::-1].transpose(2, 1, 0).copy()
        theirs.parametrizations.weight.original1.copy_(torch.tensor(kernel))
        scale = np.asarray(conv.scale[...]).reshape(3, 1, 1).copy()
        theirs.parametrizations.weight.original0.copy_(torch.tensor(scale))
        theirs.bias.copy_(torch.tensor(np.asarray(conv.bias[...]).copy()))
        xs = jax.random.normal(getkey(), (2, 10, 3))
        x = torch.tensor(np.asarray(xs)).transpose(1, 2)
        expected = theirs(torch.nn.functional.pad(x, (6, 0))).transpose(1, 2)
    assert oracles.relative_error(call(conv, xs), expected.numpy()) <= 2e-6


@pytest.mark.parametrize(("kernel_size", "dilations"), [(3, (1,)), (2, (1, 2, 4)), (3, (2, 3))])
def test_receptive_field_of_a_stack_equals_the_formula(kernel_size, dilations):
    """With positive weights, a step depends on both ends of the field and nothing before."""
    rngs = nnx.Rngs(0)
    blocks = [TemporalBlock(1, rngs=rngs, kernel_size=kernel_size, dilation=d) for d in dilations]
    for conv in (conv for block in blocks for conv in (block.first, block.second)):
        conv.kernel[...] = jnp.ones_like(conv.kernel[...])
    field = 1 + 2 * (kernel_size - 1) * sum(dilations)
    stack, xs = Stack(blocks), jnp.ones((field + 5, 1))
    seen = jax.jacobian(lambda xs: call(stack, xs)[-1, 0])(xs)[:, 0]
    # Taps closer than the dilation leave gaps inside the field, but both ends are reached.
    assert seen[-1] > 0
    assert seen[5] > 0
    assert not seen[:5].any()


def test_temporal_block_dropout_depends_only_on_the_key(getkey):
    block, xs = layer("block"), jax.random.normal(getkey(), (2, 9, 4))
    key, other = getkey(), getkey()
    np.testing.assert_array_equal(call(block, xs, key=key), call(block, xs, key=key))
    assert (call(block, xs, key=key) != call(block, xs, key=other)).any()
    dropped, in_stack = call(block, xs, key=key), call(Stack([block]), xs, key=key)
    block.eval()
    assert (dropped != call(block, xs)).any()
    assert (in_stack != call(Stack([block]), xs)).any()


def test_scale_of_a_new_convolution_is_the_norm_of_its_kernel():
    conv = DilatedConv(4, 3, 2, rngs=nnx.Rngs(0))
    norm = np.sqrt((np.asarray(conv.kernel[...], np.float64) ** 2).sum((0, 1)))
    np.testing.assert_allclose(conv.scale[...], norm, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"kernel_size": 0}, "kernel_size must be an int >= 1, got 0"),
        ({"dilation": 0}, "dilation must be an int >= 1, got 0"),
    ],
)
def test_options_out_of_range_raise_value_error(options, message):
    with pytest.raises(ValueError, match=message):
        TemporalBlock(4, rngs=nnx.Rngs(0), **options)
