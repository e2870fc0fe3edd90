"""Every cell, block and stack keeps the contract."""

import functools

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from rnnlab import (
    CELLS,
    GRU,
    LRU,
    LSTM,
    RGLRU,
    Bidirectional,
    Block,
    CausalConv,
    MinGRU,
    MinLSTM,
    Stack,
)
from rnnlab.testing import CELL_CHECKS, SEQUENCE_CHECKS


def build(make, **options):
    """A cell away from its initialisation, where zero biases would hide mistakes."""
    cell = make(rngs=nnx.Rngs(0), **options)
    graphdef, params = nnx.split(cell)
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [
        p + 0.3 * jax.random.normal(k, p.shape, p.dtype) for p, k in zip(leaves, keys, strict=True)
    ]
    return nnx.merge(graphdef, jax.tree.unflatten(treedef, moved))


def full_block(cell):
    return functools.partial(
        Block, 4, cell, expansion=2, conv_kernel_size=3, mlp_expansion=2, dropout=0.5
    )


def stack_of_blocks(rngs):
    return Stack([full_block(MinLSTM)(rngs=rngs), full_block(LSTM)(rngs=rngs)])


def mixed_stack(rngs):
    return Stack([MinGRU(3, 4, rngs=rngs), GRU(4, 5, rngs=rngs)])


STREAMING = {
    **{name: functools.partial(cell, 3, 4) for name, cell in CELLS.items()},
    "mingru associative": functools.partial(
        MinGRU, 3, 4, backend="associative", decay_range=(-1, 1), candidate="tanh"
    ),
    "minlstm associative": functools.partial(
        MinLSTM, 3, 4, backend="associative", normalize=False, candidate="identity", forget_bias=3.0
    ),
    "mingru learned carry": functools.partial(MinGRU, 3, 4, learn_initial_state=True),
    "gru reset before": functools.partial(GRU, 3, 4, reset_after=False),
    "lstm newton": functools.partial(LSTM, 3, 4, backend="newton"),
    "rglru": functools.partial(RGLRU, 3, 4, heads=2),
    "lru": functools.partial(LRU, 3, 4, state_size=3),
    "s5": functools.partial(LRU, 3, 4, init="hippo", delta=True, learn_initial_state=True),
    "conv": functools.partial(CausalConv, 4, 3),
    "block": full_block(MinGRU),
    "stack of blocks": stack_of_blocks,
    "mixed stack": mixed_stack,
}

slow = pytest.mark.slow
# Whole models, which are stacks of blocks: tests/models/test_sequence_model.py.
SLOW = ("rglru", "s5", "stack of blocks", "minlstm associative", "gru reset before")
QUICK = [name for name in STREAMING if name not in SLOW]


@functools.cache
def streaming(name):
    return build(STREAMING[name])


@functools.cache
def bidirectional(name):
    def make(rngs):
        cell = full_block(MinGRU) if name == "block" else functools.partial(CELLS[name], 3, 4)
        return Bidirectional(cell(rngs=rngs), cell(rngs=rngs))

    return build(make)


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(n, marks=slow) for n in SLOW)])
@pytest.mark.parametrize("check", [*SEQUENCE_CHECKS, *CELL_CHECKS])
def test_streaming_module_keeps_the_contract(request, name, check):
    if name not in CELLS:  # cells are compiled as users compile them, what is built of them quickly
        request.getfixturevalue("quick_compile")
    {**SEQUENCE_CHECKS, **CELL_CHECKS}[check](streaming(name), jax.random.key(2))


@pytest.mark.parametrize(
    "name",
    ["mingru", "lstm", *(pytest.param(n, marks=slow) for n in ("rnn", "gru", "minlstm", "block"))],
)
@pytest.mark.parametrize("check", SEQUENCE_CHECKS)
@pytest.mark.usefixtures("quick_compile")
def test_bidirectional_keeps_the_sequence_contract(name, check):
    SEQUENCE_CHECKS[check](bidirectional(name), jax.random.key(3))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, jnp.bfloat16) for name in CELLS), ("mingru", jnp.float16), ("lstm", jnp.float16)],
)
@pytest.mark.parametrize(
    "check", ["sequence_equals_steps", "resumes_at_any_cut", "carry_keeps_its_type"]
)
def test_16_bit_cell_keeps_the_contract(name, check, dtype):
    CELL_CHECKS[check](build(STREAMING[name], dtype=dtype), jax.random.key(4))
