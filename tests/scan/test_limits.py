"""Both scans where the result has a closed form, and their derivatives of both orders."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from rnnlab import gated_scan, linear_scan
from rnnlab.cells.mingru import MinGRUCoefficients
from rnnlab.cells.minlstm import MinLSTMCoefficients

GATES = {
    "mingru": MinGRUCoefficients(candidate="identity"),
    "minlstm": MinLSTMCoefficients(candidate="identity"),
}
BACKEND = pytest.mark.parametrize("backend", ["sequential", "associative"])
SLOW = pytest.mark.slow
KIND = pytest.mark.parametrize(
    "kind", [pytest.param("linear", marks=SLOW), "mingru", pytest.param("minlstm", marks=SLOW)]
)
UPDATES = [0, 8, -8, -12, 20, -20, 90, -90, 1000, -1000, np.inf, -np.inf]
"""Pre-activations of the gate that admits the input."""


def scan(kind, backend, update, value, h0, reset=None):
    """All states with decay `sigmoid(-update)`; for minLSTM from two opposite gates."""
    if kind == "linear":
        pre = jax.nn.sigmoid(-update), jax.nn.sigmoid(update) * value
        return linear_scan(*pre, h0, reset=reset, backend=backend)
    pre = [update, value] if kind == "mingru" else [-update, update, value]
    return gated_scan(GATES[kind], pre, h0, reset=reset, backend=backend)[0]


def example(length, updates):
    """One example per update, of two features with different values and states."""
    rng = np.random.default_rng(length)
    shape = (len(updates), length, 2)
    update = np.broadcast_to(np.reshape(updates, (-1, 1, 1)), shape)
    arrays = update, rng.normal(size=shape), rng.normal(size=shape[::2])
    return [jnp.asarray(x, jnp.zeros(0).dtype) for x in arrays]


@KIND
@BACKEND
def test_scan_with_open_or_closed_gates_returns_the_value_or_the_state(kind, backend):
    update, value, h0 = example(9, [1000, np.inf, -1000, -np.inf])
    h = scan(kind, backend, update, value, h0)
    np.testing.assert_array_equal(h[:2], value[:2])
    np.testing.assert_array_equal(h[2:], jnp.broadcast_to(h0[2:, None], value[2:].shape))


@pytest.mark.parametrize("kind", ["mingru", pytest.param("minlstm", marks=SLOW)])
@BACKEND
def test_scan_of_equal_gates_and_values_equals_a_geometric_sum(kind, backend):
    update, value, h0 = example(9, UPDATES[:-2])
    value = jnp.broadcast_to(value[:, :1], value.shape)
    h = scan(kind, backend, update, value, h0)
    update, value, h0 = (np.asarray(x, np.float64) for x in (update, value, h0[:, None]))
    log_power = -np.logaddexp(0, update) * np.arange(1, 10)[:, None]
    expected = np.exp(log_power) * h0 - np.expm1(log_power) * value
    for states, ref in zip(h, expected, strict=True):
        assert np.abs(states - ref).max() <= 5e-6 * np.abs(ref).max()


@BACKEND
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_scan_of_no_steps_passes_the_gradient_to_the_state(backend, dtype):
    _, value, h0 = example(0, UPDATES)
    pre = [value.astype(dtype)] * 2

    def run(pre, h0):
        return gated_scan(GATES["mingru"], pre, h0, backend=backend)

    (h, last), pull = jax.vjp(run, pre, h0)
    dpre, dh0 = pull((h, 2 * h0))
    assert [x.dtype for x in (h, last, *dpre, dh0)] == [dtype, h0.dtype, dtype, dtype, h0.dtype]
    np.testing.assert_array_equal(last, h0)
    np.testing.assert_array_equal(dh0, 2 * h0)


def loss_of(kind, backend, reset=None):
    @jax.jit
    def loss(*arguments):
        return jnp.sum(jnp.sin(scan(kind, backend, *arguments, reset)))

    return loss


@SLOW
@pytest.mark.parametrize("kind", ["linear", *GATES])
@BACKEND
def test_scan_second_derivatives_at_extreme_gates_are_finite(kind, backend):
    arguments = example(3, UPDATES)
    # Twice in reverse mode: the forward mode of jax.hessian is not defined.
    places = tuple(range(len(arguments)))
    twice = jax.jacrev(jax.jacrev(loss_of(kind, backend), places), places)
    for x in jax.tree.leaves(jax.jit(jax.vmap(twice))(*arguments)):
        assert np.isfinite(x).all()


def check_gradients(loss, arguments, order):
    """Asserts that gradients equal finite differences, in float64."""
    jax.test_util.check_grads(loss, arguments, order=order, modes=["rev"], atol=1e-6, rtol=1e-6)


def loss_and_arguments(kind, backend, length):
    """A loss with resets, at gates whose gradients finite differences can resolve."""
    update, value, h0 = example(length, [0, 4, -4])
    reset = np.random.default_rng(0).random(value.shape[:-1]) < 0.1
    return loss_of(kind, backend, jnp.asarray(reset)), (update + value, value, h0)


@pytest.mark.parametrize(
    ("length", "order"), [(5, 1), *(pytest.param(n, 2, marks=SLOW) for n in (1, 5, 16, 64))]
)
@KIND
@BACKEND
def test_scan_gradients_equal_finite_differences(x64, kind, backend, length, order):
    check_gradients(*loss_and_arguments(kind, backend, length), order)


@pytest.mark.parametrize("wrong", range(3))
def test_gradient_check_of_a_5_percent_error_fails(x64, wrong):
    loss, arguments = loss_and_arguments("mingru", "sequential", 5)

    def forward(*arguments):
        return loss(*arguments), arguments

    def backward(arguments, d):
        gradients = jax.grad(loss, (0, 1, 2))(*arguments)
        return tuple(d * g * (1.05 if k == wrong else 1) for k, g in enumerate(gradients))

    planted = jax.custom_vjp(loss)
    planted.defvjp(forward, backward)
    with pytest.raises(AssertionError):
        check_gradients(planted, arguments, order=1)
