"""Flax NNX: its cells under the contract, and rnnlab's cells in its containers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import (
    GRU,
    LSTM,
    Bidirectional,
    Block,
    MinGRU,
    NNXCell,
    OutputOnly,
    SequenceModel,
    Stack,
)
from rnnlab.testing import CELL_CHECKS, SEQUENCE_CHECKS, assert_close

CHECKS = {**SEQUENCE_CHECKS, **CELL_CHECKS}
CELLS = (nnx.SimpleCell, nnx.GRUCell, nnx.LSTMCell, nnx.OptimizedLSTMCell)
QUICK = (nnx.GRUCell, nnx.OptimizedLSTMCell)

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")


@functools.cache
def wrapped(cell, **options):
    return NNXCell(cell(3, 4, rngs=nnx.Rngs(0), **options))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "cell", [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in CELLS]
)
def test_nnx_cell_keeps_the_contract(cell, check):
    CHECKS[check](wrapped(cell), jax.random.key(3))


@pytest.mark.parametrize("check", ["resumes_at_any_cut", "carry_keeps_its_type"])
def test_nnx_cell_in_16_bits_keeps_the_contract(check):
    CHECKS[check](wrapped(nnx.GRUCell, dtype=jnp.bfloat16), jax.random.key(3))


@pytest.mark.parametrize("cell", CELLS)
def test_nnx_cell_equals_nnx_rnn(cell, getkey):
    xs = jax.random.normal(getkey(), (2, 5, 3))
    assert_close(wrapped(cell)(xs)[1], nnx.RNN(wrapped(cell).cell)(xs))


def test_nnx_cell_is_used_as_any_cell(getkey):
    rngs, xs = nnx.Rngs(0), jax.random.normal(getkey(), (2, 5, 3))
    block = Block(3, NNXCell(nnx.GRUCell(3, 6, rngs=rngs)), rngs=rngs)
    both = Bidirectional(*(NNXCell(nnx.LSTMCell(3, 4, rngs=rngs)) for _ in range(2)))
    model = SequenceModel(Stack([block, both]), 2, in_features=3, rngs=rngs)
    mask = jnp.arange(5)[None] < jnp.array([[5], [3]])
    ys = jax.jit(lambda xs, mask: model(xs, mask=mask)[1])(xs, mask)
    assert ys.shape == (2, 5, 2)
    assert_close(ys[1:, :3], jax.jit(lambda xs: model(xs)[1])(xs[1:, :3]))


@pytest.mark.parametrize(
    "make",
    [
        lambda cell: Stack([cell]),
        lambda cell: Bidirectional(cell, cell),
        lambda cell: Block(3, cell, rngs=nnx.Rngs(0)),
        lambda cell: SequenceModel(cell, 2, in_features=3, rngs=nnx.Rngs(0)),
        OutputOnly,
    ],
)
def test_bare_nnx_cell_is_refused_with_the_name_of_the_adapter(make):
    with pytest.raises(ValueError, match=r"got GRUCell; wrap it: rnnlab.NNXCell\(cell\)"):
        make(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize("cell", [nnx.GRUCell, MinGRU(3, 4, rngs=nnx.Rngs(0)), None])
def test_adapter_of_something_else_raises(cell, unchecked):
    with pytest.raises(ValueError, match=r"cell must be a cell of flax.nnx with one axis"):
        NNXCell(cell)


def test_nnx_rnn_of_a_cell_names_what_to_use():
    with pytest.raises(AttributeError, match=r"use rnnlab.OutputOnly\(cell\) in place of nnx.RNN"):
        nnx.RNN(MinGRU(3, 4, rngs=nnx.Rngs(0)))(jnp.ones((2, 5, 3)))
    assert not hasattr(GRU(3, 4, rngs=nnx.Rngs(0)), "num_feature_axes")


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, jax.grad])
def test_cell_after_a_cell_in_nnx_sequential_raises(transform):
    rngs = nnx.Rngs(0)
    shared = MinGRU(4, 4, rngs=rngs)
    for first in (shared, LSTM(4, 4, rngs=rngs), Block(4, MinGRU, rngs=rngs)):
        layers = nnx.Sequential(first, shared)
        with pytest.raises(ValueError, match=f"one call of {type(first).__name__}, as nnx.Seq"):
            transform(lambda xs, layers=layers: layers(xs)[1].sum())(jnp.ones((2, 5, 4)))


def test_carry_of_the_cell_or_a_copy_is_accepted():
    first, second = (GRU(4, 4, rngs=nnx.Rngs(k)) for k in range(2))
    xs = jnp.ones((2, 5, 4))
    carry, ys = first(xs)
    second(ys)
    first(carry, xs)  # the same module resumes
    carry, ys = first(xs)
    second(jnp.copy(carry), ys)
    carry, y = first(xs[:, :1])
    first(carry, y)  # the output of one time step is the next input


def test_output_only_fits_nnx_sequential(getkey):
    rngs, xs = nnx.Rngs(0), jax.random.normal(getkey(), (2, 5, 3))
    first, second = MinGRU(3, 4, rngs=rngs), GRU(4, 4, rngs=rngs)
    found = nnx.Sequential(OutputOnly(first), OutputOnly(second))(xs)
    np.testing.assert_array_equal(found, second(first(xs)[1])[1])
    dropping = nnx.Sequential(OutputOnly(Block(3, MinGRU, rngs=rngs, dropout=0.5)))
    dropped = dropping(xs, rngs=nnx.Rngs(1))
    dropping.eval()
    assert (dropped != dropping(xs)).any()
    tokens = SequenceModel(GRU(4, 4, rngs=rngs), 5, vocab_size=5, rngs=rngs)
    assert OutputOnly(tokens)(jnp.zeros((2, 7), jnp.int32)).shape == (2, 7, 5)
