"""Layers, cells and models over a time axis that is cut over four devices equal those on one.

Compared are outputs, last carries and the gradients of parameters, carry and inputs in float64,
with resets on several devices, padding of every kind and a carry that is given.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from rnnlab import (
    GRU,
    LSTM,
    Attention,
    Bidirectional,
    Block,
    CausalConv,
    Mamba,
    MinGRU,
    MinLSTM,
    SequenceModel,
    Stack,
)
from rnnlab.layers import AttentionPooling, Dropout, RunningMean
from rnnlab.layers.tcn import TemporalBlock

pytestmark = [pytest.mark.devices(4), pytest.mark.usefixtures("x64", "quick_compile")]

BATCH, LENGTH, FEATURES = 4, 16, 4
SEQUENCE = P(None, "time")


def options():
    return {"rngs": nnx.Rngs(0), "param_dtype": jnp.float64}


def same(layer, **settings):
    return layer(FEATURES, FEATURES, **settings, **options())


def pair(layer, **settings):
    return Bidirectional(same(layer), same(layer, **settings))


def model():
    """A model of a block with a convolution, recomputed in the backward pass, and a readout."""
    body = Block(FEATURES, MinGRU, conv_kernel_size=3, mlp_expansion=2, **options())
    return SequenceModel(
        Stack([body], remat=True), 3, in_features=FEATURES, readout="mean", **options()
    )


MODULES = {
    "conv": lambda: CausalConv(FEATURES, 4, **options()),
    "tcn": lambda: TemporalBlock(FEATURES, kernel_size=3, dilation=2, **options()),
    "attention": lambda: same(Attention, heads=2, window=4),
    "attention pooling": lambda: AttentionPooling(FEATURES, **options()),
    "mamba": lambda: same(Mamba, state_size=2),
    "minlstm": lambda: same(MinLSTM, learn_initial_state=True),
    "bidirectional": lambda: pair(MinGRU, learn_initial_state=True),
    "model": model,
    "gru by rows": lambda: same(GRU),
    "bidirectional gru": lambda: pair(GRU),
    "newton": lambda: same(GRU, backend="newton"),
    "lstm in turns": lambda: same(LSTM),
}
TOLERANCE = {"attention": 1e-5}
"""The softmax of `jax.nn.dot_product_attention` is in float32; all others: 1e-11."""
EVERYDAY = ("conv", "attention", "bidirectional", "model", "gru by rows", "lstm in turns")


def cut(function, specs, outputs):
    mesh = jax.sharding.Mesh(jax.devices()[:4], "time")
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=outputs)


def with_gradients(run, arrays, flags):
    def loss(arrays):
        results = run(*arrays, *flags)
        terms = (jnp.sum(_weights(x) * jnp.sin(x)) for x in jax.tree.leaves(results))
        return sum(terms), results

    gradients, results = jax.grad(loss, has_aux=True)(arrays)
    return results, gradients


def _weights(x):
    return jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)


@pytest.mark.parametrize(
    "name",
    [name if name in EVERYDAY else pytest.param(name, marks=pytest.mark.slow) for name in MODULES],
)
def test_module_over_four_devices_equals_one(name):
    module, batch = MODULES[name](), 3 if name.endswith("turns") else BATCH
    graphdef, parameters = nnx.split(module)
    carry = module.initial_carry((batch,))
    if name not in ("attention", "attention pooling"):  # their carries are not any numbers
        carry = jax.tree.map(lambda x: 2 - _weights(x), carry)
    xs = jax.random.normal(jax.random.key(1), (batch, LENGTH, FEATURES))
    reset = jax.random.bernoulli(jax.random.key(2), 0.1, (batch, LENGTH))
    mask = jnp.arange(LENGTH)[None] < jnp.array([LENGTH, 9, 0, 5])[:batch, None]

    def run(parameters, carry, xs, reset, mask):
        cell = nnx.merge(graphdef, parameters, copy=True)
        return cell(carry, xs, reset=reset, mask=mask)

    on_four = cut(run, (P(), P(), SEQUENCE, SEQUENCE, SEQUENCE), (P(), SEQUENCE))
    expected, found = (
        jax.jit(partial(with_gradients, f))((parameters, carry, xs), (reset, mask))
        for f in (run, on_four)
    )
    for x, ref in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        error = np.abs(x - ref).max(initial=0) / (np.abs(ref).max(initial=0) or 1)
        assert error <= TOLERANCE.get(name, 1e-11), f"{error:.1e} in an array of {ref.shape}"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: CausalConv(FEATURES, 6, **options()), "at least 5 time steps .* got 4"),
        (lambda: pair(GRU), "a multiple of 4, the devices of the time axis"),
        (lambda: pair(Mamba), "backward must be a minimal or a classic cell"),
    ],
    ids=["window", "backward loop", "backward layer"],
)
def test_module_that_cannot_be_cut_names_what_must_change(module, message):
    module = module()
    run = cut(lambda xs: module(xs)[1], SEQUENCE, SEQUENCE)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(run, jnp.ones((3, LENGTH, FEATURES)))


def test_running_mean_of_a_cut_sequence_ends_with_its_mean():
    mean, xs = RunningMean(2, dtype=jnp.float64), jnp.arange(32.0).reshape(1, 16, 2)
    run = cut(lambda xs: mean(xs), SEQUENCE, (P(), SEQUENCE))
    sums, ys = jax.jit(run)(xs)
    np.testing.assert_allclose(ys[:, -1], xs.mean(1))
    np.testing.assert_allclose(sums[:, :-1], xs.sum(1))


@pytest.mark.parametrize("variational", [False, True])
def test_dropout_of_a_cut_sequence_draws_on_every_device_or_once(variational):
    layer = Dropout(8, 0.5, variational=variational)
    run = cut(lambda xs, key: layer(xs, key=key)[1], (SEQUENCE, P()), SEQUENCE)
    ys = jax.jit(run)(jnp.ones((2, 16, 8)), jax.random.key(0))
    parts = np.split(np.asarray(ys), 4, axis=1)
    equal = [np.array_equal(parts[0], part) for part in parts[1:]]
    assert equal == [variational] * 3
