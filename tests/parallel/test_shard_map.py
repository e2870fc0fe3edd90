"""Scans, cells, layers and models inside `jax.shard_map` equal those on one device.

The batch is cut over four devices, with the default checks of `shard_map`; parameters are
replicated. Compared are outputs, last states and the gradients of everything that has one.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from rnnlab import (
    CELLS,
    GRU,
    LSTM,
    Attention,
    Bidirectional,
    Block,
    CausalConv,
    MinGRU,
    MinLSTM,
    Stack,
    VanillaRNN,
    gated_scan,
    linear_scan,
)
from rnnlab.call_validation import gap_option
from rnnlab.layers import AttentionPooling, InputDecay, Projection, RunningMean
from rnnlab.layers.tcn import TemporalBlock
from rnnlab.parallel.collectives import collectives, total_bytes
from rnnlab.recurrent import Recurrent
from rnnlab.scan import heinsen_scan, log_linear_scan

pytestmark = [pytest.mark.devices(4), pytest.mark.usefixtures("x64", "quick_compile")]

BATCH, LENGTH = 8, 6
TOLERANCE = 1e-11


def normal(k, *shape):
    return jax.random.normal(jax.random.key(k), shape)


def flags():
    """Resets, and padding of every length, also a row that is empty."""
    reset = jax.random.bernoulli(jax.random.key(8), 0.3, (BATCH, LENGTH))
    return reset, jnp.arange(LENGTH)[None] < (jnp.arange(BATCH) % (LENGTH + 1))[:, None]


def require_equal_on_devices(function, replicated, sharded, tolerance=TOLERANCE):
    """Compares `function(replicated, sharded)` and its gradients on one device and on four.

    Floating arrays of both arguments are differentiated; `sharded` and all results are cut along
    their first axis.
    """
    mesh = jax.sharding.Mesh(jax.devices()[:4], "data")
    cut = jax.shard_map(function, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"))
    found, expected = (
        jax.jit(partial(_with_gradients, f))(replicated, sharded) for f in (cut, function)
    )
    found, expected = (jax.tree.leaves(x) for x in (found, expected))
    assert len(found) == len(expected)
    for x, ref in zip(found, expected, strict=True):
        error = np.abs(x - ref).max(initial=0) / (np.abs(ref).max(initial=0) or 1)
        assert error <= tolerance, f"relative error {error:.1e} in an array of {ref.shape}"


def _with_gradients(function, replicated, sharded):
    def is_differentiable(x):
        return jnp.issubdtype(x.dtype, jnp.inexact)

    leaves, treedef = jax.tree.flatten((replicated, sharded))
    chosen = [x for x in leaves if is_differentiable(x)]

    def of(chosen):
        given = iter(chosen)
        merged = [next(given) if is_differentiable(x) else x for x in leaves]
        return function(*jax.tree.unflatten(treedef, merged))

    results, pull = jax.vjp(of, chosen)
    weights = [
        (1 + jnp.sin(jnp.arange(x.size))).reshape(x.shape).astype(x.dtype)
        for x in jax.tree.leaves(results)
    ]
    return results, pull(jax.tree.unflatten(jax.tree.structure(results), weights))


def coefficients(update, candidate, rate):
    return jax.nn.sigmoid(rate - update), jax.nn.sigmoid(update) * jnp.tanh(candidate)


def linear(replicated, sharded, **options):
    a, b, h0, reset = sharded
    a = replicated.get("a", a)
    return linear_scan(a, b, replicated.get("h0", h0), reset=reset, **options)


def gated(replicated, sharded, **options):
    update, candidate, h0, reset, mask = sharded
    h, last = gated_scan(
        coefficients,
        (update, candidate),
        h0,
        params=(replicated["rate"],),
        reset_state=replicated["reset_state"],
        reset=reset,
        mask=mask,
        **options,
    )
    return h, last


BACKENDS = pytest.mark.parametrize("backend", ["sequential", "associative"])


@BACKENDS
@pytest.mark.parametrize("reverse", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("decay", ["per step", "per feature", "complex"])
def test_linear_scan_in_shard_map_equals_one_device(backend, reverse, decay):
    a, b, h0 = jax.nn.sigmoid(normal(0, BATCH, LENGTH, 3)), normal(1, BATCH, LENGTH, 3), None
    replicated = {}
    if decay == "per feature":
        replicated["a"] = a[0, 0]
    else:
        h0 = normal(2, BATCH, 3)
    if decay == "complex":
        replicated["a"] = a[0, 0].astype(complex) * jnp.exp(1j * a[0, 1].astype(complex))
    function = partial(linear, reverse=reverse, backend=backend)
    require_equal_on_devices(function, replicated, (a, b, h0, flags()[0]))


@BACKENDS
@pytest.mark.parametrize("reverse", [False, True])
def test_gated_scan_in_shard_map_equals_one_device(backend, reverse):
    sharded = normal(0, BATCH, LENGTH, 3), normal(1, BATCH, LENGTH, 3), normal(2, BATCH, 3)
    replicated = {"rate": normal(3, 3), "reset_state": normal(4, 3)}
    function = partial(gated, reverse=reverse, backend=backend)
    require_equal_on_devices(function, replicated, (*sharded, *flags()))


@pytest.mark.parametrize("scan", [log_linear_scan, heinsen_scan])
def test_log_space_scan_in_shard_map_equals_one_device(scan):
    def function(log_h0, logarithms):
        batch = len(logarithms[0])
        return scan(*logarithms, jnp.broadcast_to(log_h0, (batch, 3)))

    log_a = jax.nn.log_sigmoid(normal(0, BATCH, LENGTH, 3))
    require_equal_on_devices(function, normal(2, 1, 3), (log_a, normal(1, BATCH, LENGTH, 3)))


class MovingAverage(Recurrent):
    """A user's cell with one step and a learned rate, which starts from a learned state."""

    def __init__(self, features, *, rngs):
        self.in_features = self.features = features
        self.rate = nnx.Param(jnp.full(features, 0.3))
        self.start = nnx.Param(jnp.full(features, 0.2))

    def initial_carry(self, batch_shape):
        return jnp.broadcast_to(self.start[...], (*batch_shape, self.features))

    def update(self, carry, x):
        carry = carry + jnp.broadcast_to(self.rate[...], x.shape) * (x - carry)
        return carry, carry


WIDE = {"param_dtype": jnp.float64}
full_block = partial(Block, 4, expansion=2, conv_kernel_size=3, mlp_expansion=2, **WIDE)


def bidirectional(cell, in_features, features, **options):
    return Bidirectional(*(cell(in_features, features, **options) for _ in range(2)))


MODULES = {
    **{name: partial(cell, 4, 4, **WIDE) for name, cell in CELLS.items()},
    "mingru learned carry": partial(MinGRU, 4, 4, learn_initial_state=True, gap_decay=True, **WIDE),
    "gru gaps": partial(GRU, 4, 4, gap_decay=True, **WIDE),
    "gru reset before": partial(GRU, 4, 4, reset_after=False, **WIDE),
    "gru newton": partial(GRU, 4, 4, backend="newton", **WIDE),
    "lstm newton": partial(LSTM, 4, 4, backend="newton", **WIDE),
    "user": partial(MovingAverage, 4),
    "convolution": partial(CausalConv, 4, 3, **WIDE),
    "projection": partial(Projection, 4, 4, **WIDE),
    "running mean": lambda rngs: RunningMean(4, dtype=jnp.float64),
    "attention pooling": partial(AttentionPooling, 4, **WIDE),
    "input decay": lambda rngs: InputDecay(1, 4, **WIDE),
    "attention": partial(Attention, 4, 4, heads=2, window=4, **WIDE),
    "temporal block": partial(TemporalBlock, 4, dilation=2, **WIDE),
    "block": partial(full_block, MinGRU),
    "stack": lambda rngs: Stack(
        [MinGRU(4, 4, rngs=rngs, **WIDE), LSTM(4, 4, rngs=rngs, **WIDE)], remat=True
    ),
    "bidirectional": lambda rngs: Bidirectional(
        MinLSTM(4, 4, rngs=rngs, **WIDE), VanillaRNN(4, 4, rngs=rngs, **WIDE)
    ),
    "stack of bidirectional blocks": lambda rngs: Stack(
        [
            full_block(partial(bidirectional, MinGRU), rngs=rngs),
            full_block(partial(bidirectional, GRU), rngs=rngs),
        ],
        remat=True,
    ),
}
SLOW = ("attention", "temporal block", "stack of bidirectional blocks", "lstm newton")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in MODULES]
)
def test_module_in_shard_map_equals_one_device(name):
    module = MODULES[name](rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(module)
    params = jax.tree.map(lambda x: x + 0.1 * normal(5, *x.shape).astype(x.dtype), params)
    carry = jax.tree.map(lambda x: x + 0.3 * normal(6, *x.shape), module.initial_carry(BATCH))
    gaps = jnp.abs(normal(7, BATCH, LENGTH)) if module.uses_gaps else None

    def function(params, sharded):
        carry, xs, gaps, reset, mask = sharded
        module = nnx.merge(graphdef, params, copy=True)
        options = {"reset": reset, "mask": mask, **gap_option(module, gaps)}
        return module(carry, xs, **options)

    sharded = carry, normal(1, BATCH, LENGTH, 4), gaps, *flags()
    # JAX computes the softmax of attention in float32.
    tolerance = 1e-6 if name == "attention" else TOLERANCE
    require_equal_on_devices(function, params, sharded, tolerance)


EXCHANGED = ("block", "input decay", "mingru learned carry")


@pytest.mark.parametrize(
    "name", [n if n in EXCHANGED else pytest.param(n, marks=pytest.mark.slow) for n in MODULES]
)
def test_gradient_of_replicated_parameters_is_summed_in_their_size(name):
    """A parameter that is cast after it is broadcast is summed in the size of the activations."""
    module = MODULES[name](rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(module)
    gaps = jnp.ones((BATCH, LENGTH)) if module.uses_gaps else None

    def outputs(params, carry, xs, gaps):
        module = nnx.merge(graphdef, params, copy=True)
        return module(carry, xs, **gap_option(module, gaps))[1]

    mesh = jax.sharding.Mesh(jax.devices()[:4], "data")
    specs = P(), P("data"), P("data"), P("data")
    cut = jax.shard_map(outputs, mesh=mesh, in_specs=specs, out_specs=P("data"))
    gradient = jax.jit(jax.grad(lambda *arguments: jnp.sum(jnp.sin(cut(*arguments)))))
    xs = normal(1, BATCH, LENGTH, 4)
    program = gradient.lower(params, module.initial_carry(BATCH), xs, gaps).compile()
    exchanged = total_bytes(collectives(program.as_text()))
    assert set(exchanged) <= {"all-reduce"}
    sizes = sum(x.nbytes for x in jax.tree.leaves(params))
    assert exchanged.get("all-reduce", 0) <= sizes


def test_step_of_every_cell_in_shard_map_equals_one_device():
    cells = {name: cell(4, 4, rngs=nnx.Rngs(0), **WIDE) for name, cell in CELLS.items()}
    split = {name: nnx.split(cell) for name, cell in cells.items()}
    carries = {name: cell.initial_carry(BATCH) for name, cell in cells.items()}

    def function(params, sharded):
        carries, x, reset, mask = sharded
        return {
            name: nnx.merge(graphdef, params[name], copy=True).step(
                carries[name], x, reset=reset, mask=mask
            )
            for name, (graphdef, _) in split.items()
        }

    params = {name: state for name, (_, state) in split.items()}
    reset, mask = flags()
    sharded = carries, normal(1, BATCH, 4), reset[:, 0], mask[:, 0]
    require_equal_on_devices(function, params, sharded)


def test_gradient_inside_shard_map_is_summed_over_devices():
    graphdef, params = nnx.split(MinGRU(4, 4, rngs=nnx.Rngs(0), **WIDE))

    def loss(params, xs):
        return jnp.sum(jnp.sin(nnx.merge(graphdef, params, copy=True)(xs)[1]))

    mesh = jax.sharding.Mesh(jax.devices()[:4], "data")
    cut = jax.shard_map(jax.grad(loss), mesh=mesh, in_specs=(P(), P("data")), out_specs=P())
    xs = normal(1, BATCH, LENGTH, 4)
    found, expected = (jax.tree.leaves(jax.jit(f)(params, xs)) for f in (cut, jax.grad(loss)))
    for x, ref in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, ref, rtol=TOLERANCE)


def test_replicated_sequence_with_parameters_that_differ_equals_one_device_each():
    rates = jnp.linspace(0.1, 0.4, 4)[:, None]
    xs = normal(1, LENGTH, 4)
    average = MovingAverage(4, rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(average)

    def run(rate, xs):
        cell = nnx.merge(graphdef, params, copy=True)
        cell.rate = nnx.Param(jnp.broadcast_to(rate[0], (4,)))
        return jax.tree.map(lambda y: y[None], cell(xs))

    mesh = jax.sharding.Mesh(jax.devices()[:4], "model")
    cut = jax.shard_map(run, mesh=mesh, in_specs=(P("model"), P()), out_specs=P("model"))
    found = jax.jit(cut)(rates, xs)
    for k in range(4):
        expected = jax.tree.leaves(run(rates[k : k + 1], xs))
        for x, ref in zip(jax.tree.leaves(found), expected, strict=True):
            np.testing.assert_allclose(x[k], ref[0], rtol=TOLERANCE)
