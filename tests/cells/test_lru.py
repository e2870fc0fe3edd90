"""LRU and S5 against a complex loop and scipy's linear systems, and their initialization."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracles import relative_error
from scipy import signal

from rnnlab import LRU

KINDS = {"lru": {}, "s5": {"init": "hippo", "delta": True}}
KIND = pytest.mark.parametrize("kind", KINDS)


def random_cell(kind, **options):
    """A cell away from its initialization, as graph and parameters by name."""
    options = {"state_size": 4, "param_dtype": jnp.zeros(0).dtype, **KINDS[kind], **options}
    graphdef, params = nnx.split(LRU(2, 3, rngs=nnx.Rngs(0), **options))
    rng = np.random.default_rng(1)
    return graphdef, jax.tree.map(lambda p: p + 0.3 * rng.normal(size=p.shape), params)


def coefficients(p):
    """Decays and input scales, in NumPy."""
    exponent = -np.exp(p["log_rate"]) + 1j * np.exp(p["log_phase"])
    if "log_delta" in p:
        a = np.exp(exponent * np.exp(p["log_delta"]))
        return a, (a - 1) / exponent
    return np.exp(exponent), np.exp(p["log_scale"])


def loop(p, h, xs, reset):
    """Outputs and the last state of a complex loop; the state in real and imaginary parts."""
    a, scale = coefficients(p)
    b, c = (p[name][0] + 1j * p[name][1] for name in ("input_kernel", "output_kernel"))
    h, ys = h[..., 0, :] + 1j * h[..., 1, :], []
    for t in range(xs.shape[-2]):
        h = np.where(reset[..., t, None], 0, h)
        h = a * h + scale * (xs[..., t, :] @ b)
        ys.append((h @ c).real + xs[..., t, :] @ p["skip_kernel"])
    return np.stack(ys, -2), np.stack([h.real, h.imag], -2)


@KIND
def test_values_and_gradients_equal_a_complex_loop(x64, kind):
    graphdef, params = random_cell(kind)
    rng = np.random.default_rng(2)
    h, xs = rng.normal(size=(2, 2, 4)), rng.normal(size=(2, 5, 2))
    reset = np.array([[0, 0, 1, 0, 0], [1, 0, 0, 0, 0]], bool)

    def run(params, h, xs):
        last, ys = nnx.merge(graphdef, params, copy=True)(h, xs, reset=jnp.asarray(reset))
        return ys, last

    def loss(results, sin=jnp.sin):
        return sum(sin(x).sum() for x in results)

    named = {name: np.asarray(x) for name, x in nnx.to_pure_dict(params).items()}
    found = run(params, jnp.asarray(h), jnp.asarray(xs))
    for x, expected in zip(found, loop(named, h, xs, reset), strict=True):
        assert relative_error(x, expected) < 1e-12
    differentiate = jax.jit(jax.grad(lambda *x: loss(run(*x)), (0, 1, 2)))
    dparams, dh, dxs = differentiate(params, h, xs)

    def numerical(change, x):
        def moved(x):
            return loss(loop(*change(x), reset), np.sin)

        grad = np.zeros_like(x)
        for k in np.ndindex(x.shape):
            step = np.zeros_like(x)
            step[k] = 1e-6
            grad[k] = (moved(x + step) - moved(x - step)) / 2e-6
        return grad

    for name, found in nnx.to_pure_dict(dparams).items():
        expected = numerical(lambda v, name=name: (named | {name: v}, h, xs), named[name])
        assert relative_error(found, expected) < 1e-7, name
    assert relative_error(dh, numerical(lambda v: (named, v, xs), h)) < 1e-7
    assert relative_error(dxs, numerical(lambda v: (named, h, v), xs)) < 1e-7


@KIND
def test_outputs_equal_those_of_a_linear_system_of_scipy(x64, kind):
    graphdef, params = random_cell(kind)
    p = {name: np.asarray(x) for name, x in nnx.to_pure_dict(params).items()}
    xs = np.random.default_rng(2).normal(size=(9, 2))
    b, c = (p[name][0] + 1j * p[name][1] for name in ("input_kernel", "output_kernel"))
    if kind == "s5":
        one, zeros = np.ones((1, 1)), np.zeros((1, 2))
        # One continuous system per state, discretized by scipy with a zero-order hold.
        exponent = -np.exp(p["log_rate"]) + 1j * np.exp(p["log_phase"])
        systems = [
            signal.cont2discrete((rate[None, None], row[None], one, zeros), delta, "zoh")
            for rate, row, delta in zip(exponent, b.T, np.exp(p["log_delta"]), strict=True)
        ]
        inputs = np.stack([xs @ system[1][0] for system in systems], -1)
        a = np.array([system[0][0, 0] for system in systems])
    else:
        a, scale = coefficients(p)
        inputs = scale * (xs @ b)
    h = np.stack([signal.lfilter([1], [1, -r], x) for r, x in zip(a, inputs.T, strict=True)], -1)
    _, ys = nnx.merge(graphdef, params, copy=True)(jnp.asarray(xs))
    assert relative_error(ys, (h @ c).real + xs @ p["skip_kernel"]) < 1e-12


def test_decays_start_on_the_ring():
    a, scale = LRU(2, 500, radius=(0.8, 0.99), phase=0.5, rngs=nnx.Rngs(0)).decays_and_scales()
    modulus, angle = np.abs(a), np.angle(a)
    assert 0.8 <= modulus.min() < 0.82
    assert 0.985 < modulus.max() <= 0.99
    assert 0 < angle.min() < 0.01
    assert 0.49 < angle.max() <= 0.5
    np.testing.assert_allclose(scale, np.sqrt(1 - modulus**2), rtol=1e-4)


def test_s5_starts_at_the_eigenvalues_of_the_hippo_matrix():
    size = 8
    cell = LRU(2, 3, state_size=size, rngs=nnx.Rngs(0), **KINDS["s5"])
    n = np.arange(2 * size)
    root = np.sqrt(2 * n + 1)
    hippo = -np.tril(np.outer(root, root), -1) - np.diag(n + 1)
    normal = hippo + 0.5 * np.outer(root, root)
    values = np.linalg.eigvals(normal)
    expected = np.sort(values.imag[values.imag > 0])
    np.testing.assert_allclose(np.exp(cell.log_phase[...]), expected, rtol=1e-4)
    np.testing.assert_allclose(values.real, -0.5, atol=1e-6)
    np.testing.assert_allclose(np.exp(cell.log_rate[...]), 0.5, rtol=1e-6)


def test_long_rotation_keeps_its_digits():
    cell = LRU(1, 1, state_size=8, radius=(0.9999, 0.99999), rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(cell)
    p = {name: np.asarray(x, np.float64) for name, x in nnx.to_pure_dict(params).items()}
    xs = np.random.default_rng(0).normal(size=(65536, 1)).astype(np.float32)
    _, ys = jax.jit(lambda xs: nnx.merge(graphdef, params, copy=True)(xs))(xs)
    a, _ = cell.decays_and_scales()
    _, scale = coefficients(p)
    b, c = (p[name][0] + 1j * p[name][1] for name in ("input_kernel", "output_kernel"))
    inputs = scale * (xs.astype(np.float64) @ b)
    # The decays as float32 rounds them: the error is that of the recurrence.
    h = [signal.lfilter([1], [1, -r], x) for r, x in zip(np.complex128(a), inputs.T, strict=True)]
    assert relative_error(ys, (np.stack(h, -1) @ c).real + xs @ p["skip_kernel"]) < 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "hippo"}, "init must be 'ring' without delta, got 'hippo'; set delta=True"),
        ({"init": "random"}, "init must be one of 'ring', 'hippo', got 'random'"),
        ({"radius": (0.9, 1.0)}, "radius must be within"),
        ({"phase": 0.0}, "phase > 0"),
        ({"state_size": 0}, "state_size must be"),
    ],
)
def test_option_out_of_range_is_refused(unchecked, options, message):
    with pytest.raises(ValueError, match=message):
        LRU(3, 4, rngs=nnx.Rngs(0), **options)
