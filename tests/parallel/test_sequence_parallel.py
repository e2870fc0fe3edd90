"""Scans over a time axis that is cut over eight devices equal those on one device.

Compared are states, last states, all gradients and gradients of gradients, in float64.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

from rnnlab import gated_scan, linear_scan
from rnnlab.scan import (
    heinsen_scan,
    log_linear_scan,
    matrix_scan,
    sequence_parallel,
    time_shards,
)

pytestmark = [pytest.mark.devices(8), pytest.mark.usefixtures("x64", "quick_compile")]

TOLERANCE = 1e-11
BATCH, FEATURES = 3, 2
SEQUENCE = P(None, "time")


def normal(k, *shape):
    return jax.random.normal(jax.random.key(k), shape)


def flags(length):
    """Resets on several devices, and padding: a full sequence, a short one and an empty one."""
    reset = jax.random.bernoulli(jax.random.key(8), 0.15, (BATCH, length))
    return reset, jnp.arange(length)[None] < jnp.array([length, length // 2 + 1, 0])[:, None]


def cut(function, specs, outputs=SEQUENCE, devices=8, **options):
    """Returns `function` with the time axis of its arguments and results cut over devices."""
    mesh = jax.sharding.Mesh(jax.devices()[:devices], "time")
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=outputs, **options)


def derivatives(function, given, arrays, *, order):
    """Returns the results of `function(*arrays, *given)` and derivatives up to `order`."""

    def loss(arrays, phase):
        results = jax.tree.leaves(function(*arrays, *given))
        return sum(jnp.sum(_weights(x, phase) * jnp.sin(x)) for x in results)

    def second(arrays):
        gradients = jax.grad(loss)(arrays, 0.3)
        return sum(jnp.sum(_weights(x, 0.7) * jnp.sin(x)) for x in gradients)

    found = function(*arrays, *given), jax.grad(loss)(arrays, 0.3)
    return (*found, jax.grad(second)(arrays)) if order == 2 else found


def _weights(x, phase):
    return jnp.cos(phase + jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)


def require_equal(function, arrays, specs, given=(), outputs=SEQUENCE, *, order=2, devices=8):
    """Compares one device with several; `given`, flags, has a time axis and no derivatives."""
    on_several = cut(function, (*specs, *[SEQUENCE] * len(given)), outputs, devices)
    expected, found = (
        jax.jit(partial(derivatives, f, order=order))(given, arrays) for f in (function, on_several)
    )
    for x, ref in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        error = np.abs(x - ref).max(initial=0) / (np.abs(ref).max(initial=0) or 1)
        assert error <= TOLERANCE, f"relative error {error:.1e} in an array of {ref.shape}"


def coefficients(update, candidate, rate):
    return jax.nn.sigmoid(update) * jnp.tanh(rate), candidate * update


def scan_with_flags(update, candidate, rate, h0, reset_state, reset, mask, *, reverse=False):
    return gated_scan(
        coefficients,
        (update, candidate),
        h0,
        params=(rate,),
        reset_state=reset_state,
        reset=reset,
        mask=mask,
        reverse=reverse,
    )


def require_equal_gated_scan(length, *, order, devices=8, reverse=False):
    """Compares a gated scan with everything that it accepts."""
    shape = BATCH, length, FEATURES
    constants = normal(3, FEATURES), normal(4, BATCH, FEATURES), normal(5, FEATURES)
    require_equal(
        partial(scan_with_flags, reverse=reverse),
        (normal(1, *shape), normal(2, *shape), *constants),
        (SEQUENCE, SEQUENCE, P(), P(), P()),
        flags(length),
        (SEQUENCE, P()),
        order=order,
        devices=devices,
    )


@pytest.mark.parametrize(
    ("exchange", "reverse", "order"),
    [("gather", False, 2), ("gather", True, 1), ("ladder", False, 1), ("ladder", True, 1)],
)
def test_gated_scan_over_eight_devices_equals_one(exchange, reverse, order, monkeypatch):
    if exchange == "ladder":
        monkeypatch.setattr(time_shards, "MAX_GATHERED_SHARDS", 4)
    require_equal_gated_scan(24, order=order, reverse=reverse)


@pytest.mark.slow
@pytest.mark.devices(64)
@pytest.mark.parametrize("devices", [16, 32, 64])
def test_gated_scan_over_up_to_64_devices_equals_one(devices):
    require_equal_gated_scan(2 * devices, order=1, devices=devices)


@pytest.mark.parametrize(
    ("backend", "reverse", "length", "order"),
    [("associative", False, 24, 2), ("associative", True, 8, 1), ("sequential", False, 8, 1)],
)
def test_linear_scan_over_eight_devices_equals_one(backend, reverse, length, order):
    def scan(a, b, h0, reset):
        return linear_scan(a, b, h0, reset=reset, reverse=reverse, backend=backend)

    shape = BATCH, length, FEATURES
    arrays = jax.nn.tanh(normal(1, *shape)), normal(2, *shape), normal(3, BATCH, FEATURES)
    specs = SEQUENCE, SEQUENCE, P()
    require_equal(scan, arrays, specs, flags(length)[:1], order=order)


def test_linear_scan_of_constant_complex_decay_over_eight_devices_equals_one():
    def scan(angle, x):
        decay = lax.complex(0.9 * jnp.cos(angle), 0.9 * jnp.sin(angle))
        h = linear_scan(decay, lax.complex(x, jnp.sin(x)))
        return h.real, h.imag

    arrays = normal(1, FEATURES), normal(2, BATCH, 16, FEATURES)
    require_equal(scan, arrays, (P(), SEQUENCE), (), (SEQUENCE, SEQUENCE), order=1)


@pytest.mark.parametrize("reverse", [False, True])
def test_log_linear_scan_over_eight_devices_equals_one(reverse):
    def scan(log_a, log_b, log_h0, reset):
        return log_linear_scan(log_a, log_b, log_h0, reset=reset, reverse=reverse)

    shape = BATCH, 16, FEATURES
    arrays = -jnp.abs(normal(1, *shape)), normal(2, *shape), normal(3, BATCH, FEATURES)
    require_equal(scan, arrays, (SEQUENCE, SEQUENCE, P()), flags(16)[:1], order=1)


def test_last_state_of_a_cut_sequence_equals_its_last_output_to_the_bit():
    def scan(update, candidate, h0):
        return gated_scan(coefficients, (update, candidate), h0, params=(jnp.ones(FEATURES),))

    xs = normal(1, BATCH, 24, FEATURES)
    run = jax.jit(cut(scan, (SEQUENCE, SEQUENCE, P()), (SEQUENCE, P())))
    h, last = run(xs, xs, normal(2, BATCH, FEATURES))
    np.testing.assert_array_equal(h[:, -1], last)


def test_nan_of_a_segment_stays_on_its_side_of_a_reset_on_another_device():
    a, b = jax.nn.sigmoid(normal(1, BATCH, 24, FEATURES)), normal(2, BATCH, 24, FEATURES)
    reset = jnp.zeros((BATCH, 24), bool).at[0, 10].set(True)  # on the fourth device
    bad_a, bad_b = a.at[0, 4].set(jnp.nan), b.at[0, 4].set(jnp.nan)  # on the second

    def gradients(a, b):
        def loss(a, b):
            h = cut(lambda a, b, r: linear_scan(a, b, reset=r), (SEQUENCE,) * 3)(a, b, reset)
            return jnp.sum(h**2), h

        return jax.grad(loss, (0, 1), has_aux=True)(a, b)

    (clean, bad) = (jax.jit(gradients)(*x) for x in ((a, b), (bad_a, bad_b)))
    for x, ref in zip(jax.tree.leaves(bad), jax.tree.leaves(clean), strict=True):
        np.testing.assert_array_equal(x[0, 10:], ref[0, 10:])
        np.testing.assert_array_equal(x[1:], ref[1:])
        assert np.isnan(x[0, 4]).all()


def test_sequence_that_does_not_vary_over_the_time_axis_is_whole():
    a, b = jnp.full((16, 1), 0.5), normal(2, 16, 1)
    found = jax.jit(cut(linear_scan, (P(), P()), P()))(a, b)
    np.testing.assert_allclose(found, linear_scan(a, b), rtol=1e-12)


def test_cut_sequence_without_tracked_axes_is_refused():
    run = cut(linear_scan, (P("time"), P("time")), P("time"), check_vma=False)
    with pytest.raises(ValueError, match="remove that argument"):
        jax.jit(run)(jnp.ones((16, 1)), jnp.ones((16, 1)))


def test_published_log_space_scan_of_a_cut_sequence_is_refused():
    run = cut(heinsen_scan, (P("time"), P("time")), P("time"))
    with pytest.raises(ValueError, match="use log_linear_scan"):
        jax.jit(run)(jnp.zeros((16, 1)), jnp.zeros((16, 1)))


def only_the_first_shard(steps, axis, *, reverse, gathered=None):
    """An exchange that hands on the state of the first shard, without the maps behind it."""
    every = time_shards._gather(steps.b, axis)
    return every[-1 if reverse else 0], None


def one_shard_too_far(steps, axis, *, reverse, gathered=None):
    """An exchange in which a shard gets the state that it should hand on."""
    state, maps = time_shards.entering(steps, axis, reverse=reverse)
    return steps(state), maps


def only_forward(steps, axis, *, reverse, gathered=None):
    """An exchange that sends nothing back in the gradient."""
    state, maps = time_shards.entering(steps, axis, reverse=reverse)
    return (0 * state if reverse else state), maps


@pytest.fixture
def own_programs():
    """Compiles the programs of a test again, and again those of the next one."""
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.usefixtures("own_programs")
@pytest.mark.parametrize(
    "wrong",
    [
        only_forward,
        pytest.param(only_the_first_shard, marks=pytest.mark.slow),
        pytest.param(one_shard_too_far, marks=pytest.mark.slow),
    ],
)
def test_wrong_exchange_is_found_by_the_comparison(wrong, monkeypatch):
    monkeypatch.setattr(sequence_parallel, "entering", wrong)
    with pytest.raises(AssertionError, match="relative error"):
        require_equal_gated_scan(24, order=1)


def test_scan_of_matrix_states_refuses_a_cut_time_axis_in_one_line():
    arrays = [normal(k, BATCH, 16, 1, 2) for k in range(4)]
    specs = (P(None, "time"),) * 4
    scan = cut(lambda *arrays: matrix_scan(*arrays)[0], specs)
    with pytest.raises(ValueError, match=r"time must be whole .* 8 devices .*'time'") as error:
        scan(*arrays)
    assert "\n" not in str(error.value)
