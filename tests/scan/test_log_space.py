"""The log-space forms against the float64 loop in real space."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import oracles
import pytest

from rnnlab import log_linear_scan
from rnnlab.scan import heinsen_scan

REVERSE = pytest.mark.parametrize("reverse", [False, True])


def example(length, batch=(2,)):
    keys = jax.random.split(jax.random.key(0), 4)
    shape = (*batch, length, 3)
    log_a = jax.nn.log_sigmoid(jax.random.normal(keys[0], shape))
    log_b, log_h0 = jax.random.normal(keys[1], shape), jax.random.normal(keys[2], (*batch, 3))
    return log_a, log_b, log_h0, jax.random.bernoulli(keys[3], 0.2, shape[:-1])


def in_real_space(log_a, log_b, log_h0=None, reset=None, reverse=False):
    a, b = np.exp(oracles.f64(log_a, log_b))
    h0 = None if log_h0 is None else np.exp(oracles.f64(log_h0)[0])
    return oracles.linear_scan(a, b, h0, reset, reverse)


@pytest.mark.parametrize("given", [True, False], ids=["h0 and resets", "neither"])
@pytest.mark.parametrize(
    ("length", "reverse"), [(0, False), (1, False), (2, True), (7, True), (7, False), (129, False)]
)
def test_log_linear_scan_equals_the_loop_in_real_space(length, reverse, given):
    log_a, log_b, log_h0, reset = example(length)
    log_h0, reset = (log_h0, reset) if given else (None, None)
    log_h = log_linear_scan(log_a, log_b, log_h0, reset=reset, reverse=reverse)
    expected = in_real_space(log_a, log_b, log_h0, reset, reverse)
    assert oracles.relative_error(jnp.exp(log_h), expected) <= 4e-6


@REVERSE
def test_log_linear_scan_gradients_equal_finite_differences(x64, reverse):
    arrays = list(oracles.f64(*example(4)[:3]))
    reset = example(4)[3]

    def loss(*arrays):
        return jnp.sum(jnp.sin(log_linear_scan(*arrays, reset=reset, reverse=reverse)))

    for k in range(3):

        def change(x, k=k):
            changed = [x if j == k else y for j, y in enumerate(arrays)]
            return np.sum(np.sin(np.log(in_real_space(*changed, reset, reverse))))

        expected = oracles.numerical_gradient(change, arrays[k])
        got = jax.grad(loss, k)(*map(jnp.asarray, arrays))
        assert oracles.relative_error(got, expected) <= 1e-8


@pytest.mark.slow
def test_log_linear_scan_second_derivatives_equal_finite_differences():
    log_a, log_b, log_h0, reset = example(4)

    def scan(*arrays):
        return log_linear_scan(*map(jnp.asarray, arrays), reset=reset)

    arrays = (log_a, log_b, log_h0)
    jax.test_util.check_grads(scan, arrays, order=2, modes=["rev"], atol=2e-2, rtol=2e-2)


def test_log_linear_scan_of_zeros_is_minus_infinity_with_finite_gradients():
    log_a, log_b, _, _ = example(6)
    log_b = log_b.at[:, :3].set(-jnp.inf)
    log_h = log_linear_scan(log_a, log_b)
    assert (log_h[:, :3] == -jnp.inf).all()
    assert jnp.isfinite(log_h[:, 3:]).all()
    weights = jnp.where(jnp.isfinite(log_h), 1.0, 0.0)

    def loss(log_a, log_b):
        log_h = log_linear_scan(log_a, log_b)
        return jnp.sum(jnp.where(weights > 0, log_h, 0))

    for gradient in jax.grad(loss, (0, 1))(log_a, log_b):
        assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize("length", [1, 7, 64])
def test_heinsen_scan_of_short_sequences_equals_the_loop(length):
    log_a, log_b, log_h0, _ = example(length)
    expected = in_real_space(log_a, log_b, log_h0)
    got = jnp.exp(heinsen_scan(log_a, log_b, log_h0))
    assert oracles.relative_error(got, expected) <= 2e-5


def test_heinsen_scan_loses_precision_with_length_unlike_log_linear_scan():
    log_a, log_b, _, _ = example(4096, batch=(1,))
    expected = in_real_space(log_a, log_b)
    heinsen = oracles.relative_error(jnp.exp(heinsen_scan(log_a, log_b)), expected)
    pairs = oracles.relative_error(jnp.exp(log_linear_scan(log_a, log_b)), expected)
    assert pairs <= 4e-6
    assert heinsen > 10 * pairs


@pytest.mark.parametrize("scan", [log_linear_scan, heinsen_scan])
def test_log_scans_with_invalid_arguments_raise(unchecked, scan):
    log_a, log_b, log_h0, _ = example(4)
    with pytest.raises(ValueError, match=r"log_a must have shape \(2, 4, 3\), .* got \(2, 1, 3\)"):
        scan(log_a[:, :1], log_b)
    with pytest.raises(ValueError, match="log_b must have a real floating dtype, got int32"):
        scan(log_a, log_b.astype(int))
    with pytest.raises(ValueError, match=r"log_h0 must have shape \(2, 3\), .* got \(1, 3\)"):
        scan(log_a, log_b, log_h0[:1])
