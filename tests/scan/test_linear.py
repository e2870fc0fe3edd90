"""linear_scan against the float64 loop: values, gradients, flags, dtypes, transformations."""

import functools

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import oracles
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnlab import GRU, Attention, Stack, gated_scan, linear_scan, log_linear_scan
from rnnlab.scan.linear import scan_with_last_state
from rnnlab.testing import TOLERANCE

# "auto" is the first of these on CPU: test_linear_scan_with_auto_chooses_... checks that.
BACKEND = pytest.mark.parametrize("backend", ["sequential", "associative"])
REVERSE = pytest.mark.parametrize("reverse", [False, True])


def example(shape, dtype=jnp.float32, seed=0, mean=0.0):
    """Decays whose pre-activations are N(mean, 1), normal inputs, state and cotangent, resets."""
    keys = jax.random.split(jax.random.key(seed), 5)
    state = (*shape[:-2], shape[-1])
    a = jax.nn.sigmoid(mean + jax.random.normal(keys[0], shape)).astype(dtype)
    b = jax.random.normal(keys[1], shape).astype(dtype)
    h0 = jax.random.normal(keys[2], state).astype(dtype)
    dh = jax.random.normal(keys[3], shape).astype(dtype)
    return a, b, h0, dh, jax.random.bernoulli(keys[4], 0.2, shape[:-1])


@functools.partial(jax.jit, static_argnames=("reverse", "backend"))
def with_gradients(a, b, h0, dh, reset, reverse, backend):
    def scan(a, b, h0):
        return linear_scan(a, b, h0, reset=reset, reverse=reverse, backend=backend)

    h, pull = jax.vjp(scan, a, b, h0)
    return h, *pull(dh)


def check(a, b, h0, dh, *, backend, reset=None, reverse=False):
    """Values and all three gradients, within the tolerance of the narrowest dtype."""
    limit = max(TOLERANCE[jnp.dtype(x.dtype)] for x in (a, b, h0))
    results = with_gradients(a, b, h0, dh, reset, reverse, backend)
    h = oracles.linear_scan(a, b, h0, reset, reverse)
    expected = h, *oracles.linear_scan_gradients(a, b, h0, dh, reset, reverse)
    for x, ref in zip(results, expected, strict=True):
        assert oracles.relative_error(x, ref) <= limit


@BACKEND
@pytest.mark.parametrize(
    ("length", "reverse"),
    [*((n, False) for n in (0, 1, 2, 3, 7, 64, 129)), (2, True), (7, True)],
)
def test_linear_scan_at_any_length_equals_the_loop(length, reverse, backend):
    a, b, h0, dh, reset = example((2, length, 3))
    check(a, b, h0, dh, reset=reset, reverse=reverse, backend=backend)
    if length == 7:
        check(a, b, h0, dh, reverse=reverse, backend=backend)


def test_linear_scan_with_h0_none_starts_from_zeros():
    a, b, h0, _, _ = example((2, 5, 3))
    np.testing.assert_array_equal(linear_scan(a, b), linear_scan(a, b, 0 * h0))


@BACKEND
@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,)])
def test_linear_scan_with_any_batch_axes_equals_the_loop(batch, backend):
    a, b, h0, dh, reset = example((*batch, 5, 2))
    check(a, b, h0, dh, reset=reset, backend=backend)


@BACKEND
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_linear_scan_in_16_bits_keeps_the_state_in_float32(dtype, backend):
    a, b, h0, dh, reset = example((2, 64, 3), dtype)
    assert linear_scan(a, b, h0, backend=backend).dtype == dtype
    check(a, b, h0, dh, reset=reset, backend=backend)
    # 2,000 equal steps towards 1000 / 3: a 16-bit sum would stop far below it.
    slow, small = jnp.full((2000, 1), 0.997, dtype), jnp.ones((2000, 1), dtype)
    expected = oracles.linear_scan(slow, small)
    error = oracles.relative_error(linear_scan(slow, small, backend=backend), expected)
    assert error <= jnp.finfo(dtype).eps


@BACKEND
def test_linear_scan_in_float64_returns_float64(x64, backend):
    a, b, h0, dh, reset = example((2, 64, 3), jnp.float64)
    assert linear_scan(a, b, h0, backend=backend).dtype == jnp.float64
    check(a, b, h0, dh, reset=reset, backend=backend)


@BACKEND
@pytest.mark.parametrize(
    "dtypes",
    [
        (jnp.float32, jnp.bfloat16, jnp.float32),
        (jnp.bfloat16, jnp.float32, jnp.float16),
        (jnp.float64, jnp.float32, jnp.bfloat16),
        (jnp.float32, jnp.float32, jnp.float64),
    ],
)
def test_linear_scan_with_mixed_dtypes_equals_the_loop(x64, dtypes, backend):
    a, b, h0, dh, reset = example((2, 9, 3), jnp.float64)
    a, b, h0 = (x.astype(dtype) for x, dtype in zip((a, b, h0), dtypes, strict=True))
    check(a, b, h0, dh.astype(b.dtype), reset=reset, backend=backend)


@pytest.mark.slow
@BACKEND
@REVERSE
def test_linear_scan_second_derivatives_equal_finite_differences(reverse, backend):
    a, b, h0, _, reset = example((2, 5, 2))

    def scan(*operands):
        operands = map(jnp.asarray, operands)  # check_grads perturbs NumPy arrays
        return linear_scan(*operands, reset=reset, reverse=reverse, backend=backend)

    jax.test_util.check_grads(scan, (a, b, h0), order=2, modes=["rev"], atol=2e-2, rtol=2e-2)


@BACKEND
@REVERSE
def test_linear_scan_with_nan_before_a_reset_keeps_it_there(reverse, backend):
    a, b, h0, dh, _ = example((2, 9, 3))
    reset = jnp.zeros((2, 9), bool).at[:, jnp.array([3, 6])].set(True)
    # Forward a flag is on the first step of its segment, in reverse on the last.
    middle = slice(4, 7) if reverse else slice(3, 6)
    outside = np.setdiff1d(np.arange(9), np.arange(9)[middle])

    def results(a, b):
        return with_gradients(a, b, h0, dh, reset, reverse, backend)[:3]

    clean = results(a, b)
    for dirty in (
        results(a, b.at[:, middle].set(jnp.nan)),
        results(a.at[:, middle].set(jnp.nan), b),
        results(a.at[:, middle].set(jnp.inf), b),
    ):
        assert not jnp.isfinite(dirty[0][:, middle]).all()
        for x, y in zip(dirty, clean, strict=True):
            np.testing.assert_array_equal(x[:, outside], y[:, outside])


@BACKEND
@pytest.mark.parametrize("reverse", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_second_derivatives_with_nan_before_a_reset_keep_it_there(reverse, backend):
    a, b, h0, dh, _ = example((2, 9, 3))
    reset = jnp.zeros((2, 9), bool).at[:, jnp.array([3, 6])].set(True)
    dirty = slice(4, 7) if reverse else slice(3, 6)
    outside = np.setdiff1d(np.arange(9), np.arange(9)[dirty])

    @jax.jit
    def second(a, b):
        def weighted(a, b):
            h = linear_scan(a, b, h0, reset=reset, reverse=reverse, backend=backend)
            return jnp.sum(h[:, outside] ** 2 * dh[:, outside])

        def of_gradients(a, b):
            da, db = jax.grad(weighted, (0, 1))(a, b)
            return jnp.sum(jnp.sin(da[:, outside])) + jnp.sum(jnp.cos(db[:, outside]))

        return jax.grad(of_gradients, (0, 1))(a, b)

    clean, poisoned = second(a, b), second(a, b.at[:, dirty].set(jnp.nan))
    for x, y in zip(poisoned, clean, strict=True):
        np.testing.assert_array_equal(x[:, outside], y[:, outside])


@BACKEND
def test_linear_scan_with_overflowing_16_bit_cotangents_has_no_nan_gradient(backend):
    """The cotangent of b exceeds the range of float16; that of a is still 0, not NaN."""
    a, b, h0 = jnp.ones((100, 1)), jnp.zeros((100, 1), jnp.float16), jnp.zeros(1)
    dh = jnp.full((100, 1), 1000, jnp.float16)
    _, da, db, _ = with_gradients(a, b, h0, dh, None, False, backend)
    assert (da == 0).all()
    assert jnp.isinf(db[0]).all()


@BACKEND
def test_linear_scan_under_jit_vmap_checkpoint_and_scan_has_the_same_gradients(backend):
    a, b, h0, dh, reset = example((3, 6, 2))

    def loss(a, b, h0):
        h = linear_scan(a, b, h0, reset=reset, backend=backend)
        return jnp.sum(h * dh)

    def one(a, b, h0, reset, dh):
        h = jax.checkpoint(lambda *x: linear_scan(*x, reset=reset, backend=backend))(a, b, h0)
        return jnp.sum(h * dh)

    def mapped(a, b, h0):
        return jnp.sum(jax.vmap(one)(a, b, h0, reset, dh))

    def looped(a, b, h0):
        def body(total, example):
            return total + one(*example), None

        return jax.lax.scan(body, jnp.zeros(()), (a, b, h0, reset, dh))[0]

    expected = oracles.linear_scan_gradients(a, b, h0, dh, reset)
    for f in (loss, mapped, looped):
        for x, ref in zip(jax.jit(jax.grad(f, (0, 1, 2)))(a, b, h0), expected, strict=True):
            assert oracles.relative_error(x, ref) <= TOLERANCE[jnp.dtype(jnp.float32)]


@BACKEND
def test_linear_scan_under_vmap_over_one_argument_equals_the_loop(backend):
    a, b, h0, _, _ = example((4, 6, 2))
    mapped = jax.vmap(lambda b: linear_scan(a[0], b, h0[0], backend=backend))(b)
    for k in range(4):
        expected = oracles.linear_scan(a[0], b[k], h0[0])
        assert oracles.relative_error(mapped[k], expected) <= TOLERANCE[jnp.dtype(jnp.float32)]


@settings(max_examples=12, deadline=None)  # each combination of shape and options is compiled
@given(
    length=st.sampled_from([1, 7]),
    seed=st.integers(0, 2**31 - 1),
    mean=st.sampled_from([-8.0, 0.0, 8.0]),
    reverse=st.booleans(),
    with_reset=st.booleans(),
    backend=st.sampled_from(["sequential", "associative"]),
)
def test_linear_scan_with_random_arguments_equals_the_loop(
    length, seed, mean, reverse, with_reset, backend
):
    a, b, h0, dh, reset = example((2, length, 3), seed=seed, mean=mean)
    check(a, b, h0, dh, reset=reset if with_reset else None, reverse=reverse, backend=backend)


@BACKEND
@pytest.mark.parametrize("mean", [0.0, 8.0])
def test_linear_scan_error_does_not_grow_with_length(mean, backend):
    a, b, _, _, _ = example((1, 4096, 8), mean=mean)
    expected = oracles.linear_scan(a, b)
    for length in (64, 512, 4096):
        h = linear_scan(a[:, :length], b[:, :length], backend=backend)
        assert oracles.relative_error(h, expected[:, :length]) <= 2e-6


@pytest.mark.slow
@BACKEND
@pytest.mark.parametrize("mean", [0.0, 8.0])
def test_linear_scan_error_at_length_65536_is_of_rounding(mean, backend):
    a, b, _, _, _ = example((1, 65536, 16), mean=mean)
    h = linear_scan(a, b, backend=backend)
    assert oracles.relative_error(h, oracles.linear_scan(a, b)) <= 2e-6


@pytest.mark.parametrize(
    "scan",
    [
        linear_scan,
        log_linear_scan,
        lambda a, b: gated_scan(lambda a, b: (a, b), [a, b], b[0])[0],
        lambda a, b: Stack([Attention(2, 4, heads=2, rngs=nnx.Rngs(0))])(b)[1],
        lambda a, b: GRU(2, 4, rngs=nnx.Rngs(0))(b)[1],
    ],
)
@pytest.mark.usefixtures("quick_compile")
def test_forward_mode_names_the_reverse_mode_in_its_error(scan):
    a, b, _, _, _ = example((3, 2))
    for differentiate in (jax.jacfwd, lambda f: lambda x: jax.jvp(f, (x,), (x,))):
        with pytest.raises(TypeError, match=r"forward-mode .* use reverse mode: jax.jacrev"):
            differentiate(lambda b: scan(a, b))(b)
    with pytest.raises(TypeError, match=r"forward-mode .* jax.jacrev\(jax.grad\(f\)\) for a Hess"):
        jax.hessian(lambda b: linear_scan(a, b).sum())(b)


def test_linear_scan_with_auto_chooses_the_backend_when_lowered():
    a, b, _, _, _ = example((2, 8, 3))
    lowered = jax.jit(linear_scan).trace(a, b)
    cpu = lowered.lower(lowering_platforms=("cpu",)).as_text()
    gpu = lowered.lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.while" in cpu
    assert "stablehlo.while" not in gpu


@BACKEND
def test_linear_scan_called_eagerly_compiles_once(backend):
    a, b, h0, _, _ = example((2, 8, 3))
    linear_scan(a, b, h0, backend=backend)
    before = scan_with_last_state._cache_size()
    linear_scan(b, a, 2 * h0, backend=backend)
    assert scan_with_last_state._cache_size() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: {"a": x["a"][:, :1]}, r"a must have shape \(2, 4, 3\), .* got \(2, 1, 3\)"),
        (lambda x: {"b": x["b"][0, 0]}, r"b must have shape .* got \(3,\)"),
        (lambda x: {"h0": x["h0"][:1]}, r"h0 must have shape \(2, 3\), .* got \(1, 3\)"),
        (
            lambda x: {"b": x["b"].astype(int)},
            "b must have a real or complex floating dtype, got int32; cast it",
        ),
        (
            lambda x: {"reset": jnp.zeros((2, 3), bool)},
            r"reset must have shape \(2, 4\), .* got \(2, 3\)",
        ),
        (lambda x: {"reset": jnp.zeros((2, 4))}, "reset must have dtype bool, got float32"),
        (
            lambda x: {"backend": "parallel"},
            "backend must be one of 'auto', 'sequential', 'associative'.* got 'parallel'",
        ),
    ],
)
def test_linear_scan_with_invalid_arguments_raises(unchecked, change, message):
    a, b, h0, _, _ = example((2, 4, 3))
    arguments = {"a": a, "b": b, "h0": h0}
    with pytest.raises(ValueError, match=message):
        linear_scan(**(arguments | change(arguments)))


@pytest.mark.usefixtures("quick_compile")
@BACKEND
@pytest.mark.parametrize("gated", [False, True])
def test_second_derivative_within_lax_scan_equals_that_of_an_unrolled_loop(gated, backend):
    a, b, h0, dh, _ = example((2, 5, 3))

    def scan(a, b):
        if gated:
            return gated_scan(lambda a, b: (a, b), [a, b], h0, backend=backend)[0]
        return linear_scan(a, b, h0, backend=backend)

    def loss(b, unrolled):
        def add(total, weight):
            return total + scan(weight * a, b), None

        weights = jnp.array([0.5, 0.9])
        if unrolled:
            total = sum(scan(weight * a, b) for weight in weights)
        else:
            total, _ = jax.lax.scan(add, jnp.zeros_like(b), weights)
        return (jnp.sin(total) * dh).sum()

    second = [
        jax.jit(lambda b, u=unrolled: jax.vjp(jax.grad(lambda b: loss(b, u)), b)[1](dh)[0])(b)
        for unrolled in (False, True)
    ]
    np.testing.assert_allclose(*second, rtol=1e-4, atol=1e-5)
