"""gated_scan: both backends against the float64 loop over its coefficients, with every flag."""

import functools

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import oracles
import pytest

from rnnlab import gated_scan
from rnnlab.testing import TOLERANCE

BACKEND = pytest.mark.parametrize("backend", ["sequential", "associative"])
REVERSE = pytest.mark.parametrize("reverse", [False, True])


def gates(update, candidate):
    return jax.nn.sigmoid(-update), jax.nn.sigmoid(update) * jnp.tanh(candidate)


def example(length=8, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 6)
    pre = [jax.random.normal(k, (2, length, 3)).astype(dtype) for k in keys[:2]]
    h0, init = jax.random.normal(keys[2], (2, 3)), jax.random.normal(keys[3], (3,))
    reset = jax.random.bernoulli(keys[4], 0.3, (2, length))
    mask = jax.random.bernoulli(keys[5], 0.7, (2, length))  # with gaps, not padding alone
    return pre, h0, init, reset, mask


def oracle(pre, h0, init, reset, mask, reverse):
    update, candidate, h, init = oracles.f64(*pre, h0, init)
    hs = np.zeros_like(update)
    for t in oracles.order(update.shape[-2], reverse):
        h = np.where(np.asarray(reset)[:, t, None], init, h)
        z = oracles.sigmoid(update[:, t])
        new = (1 - z) * h + z * np.tanh(candidate[:, t])
        h = hs[:, t] = np.where(np.asarray(mask)[:, t, None], new, h)
    return hs, h


@BACKEND
@REVERSE
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("length", [1, 8])
def test_equals_the_loop(length, dtype, reverse, backend):
    pre, h0, init, reset, mask = example(length, dtype)
    h, last = gated_scan(
        gates, pre, h0, reset_state=init, reset=reset, mask=mask, reverse=reverse, backend=backend
    )
    assert (h.dtype, last.dtype) == (dtype, jnp.float32)
    wanted = oracle(pre, h0, init, reset, mask, reverse)
    for x, ref in zip((h, last), wanted, strict=True):
        assert oracles.relative_error(x, ref) <= TOLERANCE[jnp.dtype(x.dtype)]


@REVERSE
def test_gradients_equal_those_of_differences(x64, reverse):
    pre, h0, init, reset, mask = example(4)
    arrays = [np.asarray(x, np.float64) for x in (*pre, h0, init)]

    def loss(update, candidate, h0, init, backend):
        h, last = gated_scan(
            gates,
            [update, candidate],
            h0,
            reset_state=init,
            reset=reset,
            mask=mask,
            reverse=reverse,
            backend=backend,
        )
        return jnp.sum(jnp.sin(h)) + jnp.sum(jnp.cos(last))

    for k in range(4):

        def change(x, k=k):
            update, candidate, *states = [x if j == k else y for j, y in enumerate(arrays)]
            h, last = oracle([update, candidate], *states, reset, mask, reverse)
            return np.sum(np.sin(h)) + np.sum(np.cos(last))

        wanted = oracles.numerical_gradient(change, arrays[k])
        for backend in ("sequential", "associative"):
            got = jax.grad(loss, k)(*map(jnp.asarray, arrays), backend)
            assert oracles.relative_error(got, wanted) <= 1e-8


@BACKEND
@REVERSE
def test_gradients_of_gradients(reverse, backend):
    pre, h0, init, reset, mask = example(4)

    def scan(*operands):
        update, candidate, h0, init = map(jnp.asarray, operands)
        flags = {"reset": reset, "mask": mask, "reverse": reverse, "backend": backend}
        return gated_scan(gates, [update, candidate], h0, reset_state=init, **flags)

    operands = (*pre, h0, init)
    jax.test_util.check_grads(scan, operands, order=2, modes=["rev"], atol=2e-2, rtol=2e-2)


@BACKEND
def test_time_zero_returns_the_state(backend):
    pre, h0, *_ = example(0)
    h, last = gated_scan(gates, pre, h0, backend=backend)
    assert h.shape == (2, 0, 3)
    np.testing.assert_array_equal(last, h0)


@pytest.mark.parametrize("transform", ["forward", "backward"])
def test_the_loop_copies_no_whole_array(transform):
    """A copy of a whole array in a loop's body would make each step cost as much as all of them."""
    pre, h0, *_ = example(64)

    def forward(update, candidate, h0):
        return gated_scan(gates, [update, candidate], h0, backend="sequential")

    def backward(update, candidate, h0):
        return jax.vjp(forward, update, candidate, h0)[1](forward(update, candidate, h0))

    f = forward if transform == "forward" else backward
    compiled = jax.jit(f).lower(*pre, h0).compile().as_text()
    body = [line for line in compiled.split("ENTRY")[0].splitlines() if " = f32[2,64,3]" in line]
    assert any("dynamic-update-slice" in line for line in body), "the loop was not found"
    assert not [line for line in body if " copy(" in line]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"preactivations": [jnp.zeros((2, 4, 3)), jnp.zeros((2, 4, 2))]},
            r"preactivations\[0\] must have shape",
        ),
        (
            {"preactivations": [jnp.zeros((2, 4, 3), int)] * 2},
            r"preactivations\[0\] must have a real floating dtype, got int32",
        ),
        ({"h0": jnp.zeros((2, 4))}, r"h0 must have shape \(2, 3\), .* got \(2, 4\)"),
        ({"mask": jnp.zeros((2, 4))}, "mask must have dtype bool, got float32"),
        ({"backend": "loop"}, "backend must be one of .* got 'loop'"),
        ({"reset_state": jnp.zeros(2)}, r"reset_state must have shape \(2, 3\), .* got \(2,\)"),
    ],
)
def test_bad_arguments_are_named(unchecked, change, message):
    arguments = {"preactivations": [jnp.zeros((2, 4, 3))] * 2, "h0": jnp.zeros((2, 3))}
    call = functools.partial(gated_scan, gates)
    with pytest.raises(ValueError, match=message):
        call(**(arguments | change))
