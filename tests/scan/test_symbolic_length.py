"""Scans of a symbolic batch size and length, as `jax.export` traces them: one program, any size."""

import jax
import jax.numpy as jnp
import oracles
import pytest
from jax import export

from rnnlab import linear_scan, log_linear_scan
from rnnlab.testing import TOLERANCE

PLATFORMS = ("cpu", "cuda", "tpu")
LIMIT = TOLERANCE[jnp.dtype(jnp.float32)]


def arguments(batch, length, seed=0):
    """Decays, inputs, a state, a cotangent and resets; symbolic sizes give only their shapes."""

    def make():
        keys = jax.random.split(jax.random.key(seed), 5)
        shape, state = (batch, length, 3), (batch, 3)
        a = jax.nn.sigmoid(jax.random.normal(keys[0], shape))
        b, dh = (jax.random.normal(key, shape) for key in keys[1:3])
        reset = jax.random.bernoulli(keys[3], 0.2, shape[:2])
        return a, b, jax.random.normal(keys[4], state), dh, reset

    return make() if isinstance(length, int) else jax.eval_shape(make)


def exported(f):
    batch, length = export.symbolic_shape("batch, length")
    program = export.export(jax.jit(f), platforms=PLATFORMS)(*arguments(batch, length))
    return jax.jit(program.call)


@pytest.mark.parametrize("backend", ["sequential", "associative"])
@pytest.mark.parametrize("reverse", [False, True])
def test_exported_scan_and_gradients_at_any_length_equal_the_loop(backend, reverse):
    def with_gradients(a, b, h0, dh, reset):
        def scan(a, b, h0):
            return linear_scan(a, b, h0, reset=reset, reverse=reverse, backend=backend)

        h, pull = jax.vjp(scan, a, b, h0)
        return h, *pull(dh)

    program = exported(with_gradients)
    for batch, length in ((2, 1), (1, 13)):
        a, b, h0, dh, reset = given = arguments(batch, length)
        h = oracles.linear_scan(a, b, h0, reset, reverse)
        expected = h, *oracles.linear_scan_gradients(a, b, h0, dh, reset, reverse)
        for x, ref in zip(program(*given), expected, strict=True):
            assert oracles.relative_error(x, ref) <= LIMIT


def test_exported_log_linear_scan_equals_the_jitted_one():
    def scan(a, b, h0, dh, reset):
        log_h = log_linear_scan(jnp.log(a), b, h0, reset=reset)
        return log_h, log_linear_scan(jnp.log(a), b, reverse=True)

    given = arguments(2, 13)
    for x, ref in zip(exported(scan)(*given), jax.jit(scan)(*given), strict=True):
        assert oracles.relative_error(x, ref) <= LIMIT


def test_associative_scan_of_symbolic_length_keeps_nan_before_a_reset():
    def scan(a, b, h0, dh, reset):
        return linear_scan(a, b, h0, reset=reset, backend="associative")

    a, b, h0, dh, _ = arguments(1, 13)
    reset = jnp.arange(13) == 6
    h = exported(scan)(a, b.at[:, 2].set(jnp.nan), h0, dh, reset[None])
    assert jnp.isnan(h[:, 2:6]).all()
    assert jnp.isfinite(h[:, 6:]).all()
