"""Blocks and stacks beyond the contract: residual branches, dropout, invalid options."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import GRU, Bidirectional, Block, MinGRU, Stack
from rnnlab.layers.dropout import Dropout, dropout
from rnnlab.layers.tcn import TemporalBlock
from rnnlab.recurrent import Recurrent
from rnnlab.testing import CELL_CHECKS, SEQUENCE_CHECKS, assert_close


def block(**options):
    return Block(4, MinGRU, rngs=nnx.Rngs(0), **options)


def call(module, xs, **options):
    return module(module.initial_carry(xs.shape[:-2]), xs, **options)[1]


def test_block_with_zero_projections_is_the_identity(getkey):
    module = block(expansion=2, conv_kernel_size=4, mlp_expansion=2)
    xs = jax.random.normal(getkey(), (2, 5, 4))
    module.project.kernel[...] *= 0
    module.mlp.layers[-1].kernel[...] *= 0
    np.testing.assert_array_equal(call(module, xs), xs)


def test_branch_is_norm_conv_cell_projection(getkey):
    module = block(expansion=2, conv_kernel_size=3)
    xs = jax.random.normal(getkey(), (2, 5, 4))
    normed = xs / jnp.sqrt(jnp.mean(xs**2, -1, keepdims=True) + 1e-6)
    kernel = module.conv.kernel[...]
    padded = jnp.pad(normed, ((0, 0), (2, 0), (0, 0)))
    conv = sum(kernel[k][None, None] * padded[:, 2 - k : 7 - k] for k in range(3))
    _, states = module.cell(module.cell.initial_carry((2,)), conv)
    expected = xs + states @ module.project.kernel[...]
    assert_close(call(module, xs), expected)


def test_block_dropout_depends_only_on_the_key(getkey):
    module, xs = block(dropout=0.5), jax.random.normal(getkey(), (2, 5, 4))
    key, other = getkey(), getkey()
    np.testing.assert_array_equal(call(module, xs, key=key), call(module, xs, key=key))
    assert (call(module, xs, key=key) != call(module, xs, key=other)).any()
    dropped = call(module, xs, key=key)
    module.eval()
    np.testing.assert_array_equal(call(module, xs), call(block(), xs))
    np.testing.assert_array_equal(call(module, xs, key=key), call(module, xs))
    assert (dropped != call(module, xs)).any()


@pytest.mark.parametrize(
    "module",
    [
        lambda: Dropout(4, 0.5),
        lambda: block(dropout=0.5),
        lambda: TemporalBlock(4, rngs=nnx.Rngs(0), dropout=0.5),
        lambda: Stack([block(dropout=0.5)]),
        lambda: Bidirectional(block(dropout=0.5), block()),
    ],
)
def test_dropout_without_a_key_warns_and_raises_in_training_mode(module):
    module, xs = module(), jnp.ones((2, 5, 4))
    with pytest.warns(UserWarning, match="with dropout 0.5 got no key and applies no dropout"):
        ys = call(module, xs)
    module.train()
    with pytest.raises(ValueError, match=r"key must be given to .* in training mode"):
        call(module, xs)
    assert (call(module, xs, key=jax.random.key(1)) != ys).any()
    module.eval()
    np.testing.assert_array_equal(call(module, xs), ys)


def test_rngs_of_a_call_are_a_source_of_keys():
    module, xs = block(dropout=0.5), jnp.ones((2, 5, 4))
    rngs = nnx.Rngs(0, dropout=1)
    first, second = call(module, xs, rngs=rngs), call(module, xs, rngs=rngs)
    assert (first != second).any()
    np.testing.assert_array_equal(call(module, xs, rngs=nnx.Rngs(dropout=1)), first)
    np.testing.assert_array_equal(call(module, xs, rngs=nnx.Rngs(dropout=1).dropout), first)
    key = nnx.Rngs(dropout=1).dropout()
    np.testing.assert_array_equal(call(module, xs, rngs=key), call(module, xs, key=key))


@pytest.mark.parametrize("remat", [False, True])
def test_stream_of_the_constructor_is_advanced_by_each_call(remat):
    def make():
        made = Block(4, MinGRU, rngs=nnx.Rngs(0, dropout=1), dropout=0.5)
        return Stack([made], remat=remat)

    module, xs = make(), jnp.ones((2, 5, 4))
    run = nnx.jit(call)
    first, second = run(module, xs), run(module, xs)
    assert (first != second).any()
    np.testing.assert_array_equal(run(make(), xs), first)
    graphdef, params, streams = nnx.split(module, nnx.Param, ...)

    def loss(params):
        return call(nnx.merge(graphdef, params, streams, copy=True), xs).sum()

    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(jax.jit(jax.grad(loss))(params)))
    still = nnx.view(module, deterministic=True)
    np.testing.assert_array_equal(call(still, xs), call(still, xs))


@pytest.mark.parametrize("transform", [jax.jit, lambda f: jax.grad(lambda xs: f(xs).sum())])
def test_stream_of_a_module_outside_a_transformation_names_those_of_nnx(transform):
    module = Stack([Block(4, MinGRU, rngs=nnx.Rngs(0, dropout=1), dropout=0.5)])
    with pytest.raises(ValueError, match=r"must advance its stream .* use nnx.jit and nnx.grad"):
        transform(lambda xs: call(module, xs))(jnp.ones((2, 5, 4)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": 0}, r"key must be a random key, got 0; pass jax.random.key\(0\)"),
        ({"key": jnp.zeros(3)}, "key must be a random key, got an array of shape"),
        ({"key": jax.random.key(0), "rngs": nnx.Rngs(0)}, "only one of key and rngs"),
    ],
)
def test_invalid_key_raises_value_error(options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call(block(dropout=0.5), jnp.ones((2, 5, 4)), **options)


@pytest.mark.parametrize("check", ["sequence_equals_steps", "packed_equals_separate"])
def test_dropout_layer_keeps_the_contract(check):
    {**SEQUENCE_CHECKS, **CELL_CHECKS}[check](Dropout(4, 0.5), jax.random.key(4))


def test_layers_of_a_stack_use_different_dropout_masks(getkey):
    layers = [block(dropout=0.5), block(dropout=0.5)]
    key, xs = getkey(), jax.random.normal(getkey(), (2, 5, 4))
    stacked = call(Stack(layers), xs, key=key)
    first = call(layers[0], xs, key=jax.random.fold_in(key, 0))
    second = call(layers[1], first, key=jax.random.fold_in(key, 1))
    np.testing.assert_array_equal(stacked, second)


def test_stack_with_a_bare_cell_accepts_a_key(getkey):
    stack = Stack([block(dropout=0.5), GRU(4, 3, rngs=nnx.Rngs(1))])
    xs = jax.random.normal(getkey(), (2, 5, 4))
    assert call(stack, xs, key=getkey()).shape == (2, 5, 3)


def test_key_reaches_blocks_inside_other_layers(getkey):
    """Inside Bidirectional, in a stack of stacks, and as the cell of a block."""

    def dropping(width, features, *, rngs, **dtypes):
        return Block(width, MinGRU, rngs=rngs, dropout=0.9, **dtypes)

    rngs = nnx.Rngs(0)
    both = Bidirectional(dropping(4, 4, rngs=rngs), dropping(4, 4, rngs=rngs), merge="sum")
    nested = Stack([Stack([dropping(4, 4, rngs=rngs)])])
    inside = Block(4, dropping, rngs=rngs)
    xs, key = jax.random.normal(getkey(), (2, 5, 4)), getkey()
    for module in (both, nested, inside, Stack([both])):
        module.train()
        dropped = call(module, xs, key=key)
        module.eval()
        assert (dropped != call(module, xs)).any()


@pytest.mark.usefixtures("quick_compile")
@pytest.mark.parametrize("check", ["sequence_equals_steps", "packed_equals_separate"])
def test_block_in_16_bits_keeps_the_cell_contract(check):
    options = {"conv_kernel_size": 3, "mlp_expansion": 2, "expansion": 2}
    block = Block(4, MinGRU, rngs=nnx.Rngs(0), dtype=jnp.bfloat16, **options)
    {**SEQUENCE_CHECKS, **CELL_CHECKS}[check](block, jax.random.key(4))


def test_dropout_preserves_the_mean(getkey):
    x = jnp.ones(20_000)
    y = dropout(x, 0.25, getkey())
    assert abs(float(y.mean()) - 1) < 0.02
    assert abs(float((y == 0).mean()) - 0.25) < 0.02
    assert dropout(x, 0.25, None) is x


def test_block_builds_its_cell_with_any_callable():
    signed = functools.partial(MinGRU, decay_range=(-1, 1), candidate="tanh")
    assert Block(4, signed, rngs=nnx.Rngs(0)).cell.decay_range == (-1, 1)


def test_block_accepts_a_cell(getkey):
    cell = GRU(4, 6, rngs=nnx.Rngs(1))
    made, xs = Block(4, cell, rngs=nnx.Rngs(0)), jax.random.normal(getkey(), (2, 5, 4))
    assert made.cell is cell
    assert call(made, xs).shape == xs.shape
    with pytest.raises(ValueError, match="cell must have in_features 5, got 4"):
        Block(5, cell, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"expansion": 0}, "expansion must be an int >= 1, got 0"),
        ({"mlp_expansion": 0}, "mlp_expansion must be an int >= 1, got 0"),
        ({"dtype": jnp.int32}, "dtype must be a real floating dtype, got int32"),
        ({"conv_kernel_size": 0}, "kernel_size must be an int >= 1, got 0"),
    ],
)
def test_options_out_of_range_raise_value_error(options, message):
    with pytest.raises(ValueError, match=message):
        block(**options)


def test_stack_of_layers_that_do_not_fit_raises_value_error():
    rngs = nnx.Rngs(0)
    with pytest.raises(ValueError, match="layers must contain at least one"):
        Stack([])
    with pytest.raises(ValueError, match=r"layers\[1\] must have in_features 4, .*, got 5"):
        Stack([MinGRU(3, 4, rngs=rngs), MinGRU(5, 4, rngs=rngs)])


def test_wrappers_of_a_cell_without_dtype_compute_in_float32():
    class Sum(Recurrent):
        def __init__(self):
            self.in_features = self.features = 2

        def initial_carry(self, batch_shape):
            return jnp.zeros((*batch_shape, 2))

        def update(self, carry, x):
            return carry + x, carry + x

    for module in (Stack([Sum(), Sum()]), Bidirectional(Sum(), Sum(), merge="sum")):
        assert module.dtype == jnp.float32
        assert module(jnp.ones((3, 2)))[1].shape == (3, 2)
