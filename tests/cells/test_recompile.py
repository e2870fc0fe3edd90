"""No cell compiles again when only values change."""

import jax
import pytest
from flax import nnx

from rnnlab import CELLS

BATCH, TIME, IN, FEATURES = 2, 5, 3, 4


@pytest.fixture
def compilations():
    """A list that grows with every compilation, wherever in a call it happens.

    It is fed by JAX's public monitoring: the size of one function's cache would not show a program
    compiled again further inside.
    """
    events = []

    def listen(event, seconds, **_):
        if event.endswith("backend_compile_duration"):
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)


def sequence(graphdef, params, carry, xs, flags):
    return nnx.merge(graphdef, params, copy=True)(carry, xs, **flags)


def step(graphdef, params, carry, xs, flags):
    flags = {name: flag[:, 0] for name, flag in flags.items()}
    return nnx.merge(graphdef, params, copy=True).step(carry, xs[:, 0], **flags)


def gradient(graphdef, params, carry, xs, flags):
    def loss(*primals):
        carry, ys = sequence(graphdef, *primals, flags)
        return sum((x**2).sum() for x in jax.tree.leaves((carry, ys)))

    return jax.grad(loss, argnums=(0, 1, 2))(params, carry, xs)


def arguments(make, seed, time=TIME):
    """A new cell, cut in two, and inputs for it: from seed to seed only values differ."""
    cell = make(IN, FEATURES, rngs=nnx.Rngs(seed))
    graphdef, params = nnx.split(cell)
    carry = jax.tree.map(lambda c: c + seed, cell.initial_carry((BATCH,)))
    keys = jax.random.split(jax.random.key(seed), 3)
    flags = {
        "reset": jax.random.bernoulli(keys[0], 0.3, (BATCH, time)),
        "mask": jax.random.bernoulli(keys[1], 0.7, (BATCH, time)),
    }
    return graphdef, params, carry, jax.random.normal(keys[2], (BATCH, time, IN)), flags


@pytest.mark.parametrize("function", [sequence, step, gradient])
@pytest.mark.parametrize("name", CELLS)
def test_new_values_do_not_recompile(compilations, name, function):
    # The graphdef is static: that of an equal cell has to be equal too.
    jitted = jax.jit(function, static_argnums=0)
    first, second = arguments(CELLS[name], 0), arguments(CELLS[name], 1)
    jitted(*first)
    before = len(compilations)
    jitted(*second)
    assert len(compilations) == before


@pytest.mark.parametrize("name", ["mingru", "minlstm"])
def test_equal_cells_share_a_scan_outside_jit(compilations, name):
    first, second = arguments(CELLS[name], 0), arguments(CELLS[name], 1)
    sequence(*first)
    before = len(compilations)
    sequence(*second)
    assert len(compilations) == before


@pytest.mark.parametrize("name", ["rnn", "mingru"])
def test_new_shape_recompiles(compilations, name):
    """The counter counts: without this the tests above could not fail."""
    # A function of its own: JAX keeps what it compiled for a function from one test to the next.
    jitted = jax.jit(lambda *args: sequence(*args), static_argnums=0)
    first, longer = arguments(CELLS[name], 0), arguments(CELLS[name], 0, TIME + 1)
    jitted(*first)
    before = len(compilations)
    jitted(*longer)
    assert len(compilations) == before + 1
