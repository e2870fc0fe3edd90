"""gated_scan against the float64 loop over its coefficients, with params and every flag."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import oracles
import pytest

from rnnlab import gated_scan
from rnnlab.scan import gated, gated_step
from rnnlab.testing import TOLERANCE

BACKEND = pytest.mark.parametrize("backend", ["sequential", "associative"])
REVERSE = pytest.mark.parametrize("reverse", [False, True])


def coefficients(update, candidate, slope, scale):
    update = slope * update
    return jax.nn.sigmoid(-update), jax.nn.sigmoid(update) * scale * jnp.tanh(candidate)


def example(length=8, dtype=jnp.float32):
    """Arrays of a scan: two pre-activations, two params, h0, reset_state; and its flags."""
    keys = jax.random.split(jax.random.key(0), 8)
    preactivations = [jax.random.normal(k, (2, length, 3)).astype(dtype) for k in keys[:2]]
    params = [jax.random.normal(k, (3,)) for k in keys[2:4]]
    h0, reset_state = jax.random.normal(keys[4], (2, 3)), jax.random.normal(keys[5], (3,))
    flags = {
        "reset": jax.random.bernoulli(keys[6], 0.3, (2, length)),
        "mask": jax.random.bernoulli(keys[7], 0.7, (2, length)),  # with gaps, not only padding
    }
    return (preactivations, params, h0, reset_state), flags


@functools.partial(jax.jit, static_argnames=("reverse", "backend"))
def run(preactivations, params, h0, reset_state, **options):
    return gated_scan(
        coefficients, preactivations, h0, params=params, reset_state=reset_state, **options
    )


def oracle(preactivations, params, h0, reset_state, *, reset, mask, reverse):
    update, candidate, slope, scale, h, reset_state = oracles.f64(
        *preactivations, *params, h0, reset_state
    )
    hs = np.zeros_like(update)
    for t in oracles.order(update.shape[-2], reverse):
        h = np.where(np.asarray(reset)[:, t, None], reset_state, h)
        z = oracles.sigmoid(slope * update[:, t])
        new = (1 - z) * h + z * scale * np.tanh(candidate[:, t])
        h = hs[:, t] = np.where(np.asarray(mask)[:, t, None], new, h)
    return hs, h


@BACKEND
@pytest.mark.parametrize(
    ("length", "dtype", "reverse"),
    [
        (1, jnp.float32, False),
        (8, jnp.float32, True),
        (37, jnp.float32, False),  # two chunks and a shorter one
        (37, jnp.float32, True),
        (8, jnp.bfloat16, False),
    ],
)
def test_gated_scan_with_all_flags_equals_the_loop(length, dtype, reverse, backend):
    arrays, flags = example(length, dtype)
    h, last = run(*arrays, **flags, reverse=reverse, backend=backend)
    assert (h.dtype, last.dtype) == (dtype, jnp.float32)
    expected = oracle(*arrays, **flags, reverse=reverse)
    for x, ref in zip((h, last), expected, strict=True):
        assert oracles.relative_error(x, ref) <= TOLERANCE[jnp.dtype(x.dtype)]


@REVERSE
def test_gated_scan_gradients_equal_finite_differences(x64, reverse):
    arrays, flags = example(4)
    arrays = jax.tree.map(lambda x: np.asarray(x, np.float64), arrays)
    leaves, structure = jax.tree.flatten(arrays)

    @functools.partial(jax.jit, static_argnames="backend")
    def gradients(leaves, backend):
        def loss(leaves):
            h, last = run(*structure.unflatten(leaves), **flags, reverse=reverse, backend=backend)
            return jnp.sum(jnp.sin(h)) + jnp.sum(jnp.cos(last))

        return jax.grad(loss)(leaves)

    found = [gradients(leaves, backend) for backend in ("sequential", "associative")]
    for k, leaf in enumerate(leaves):

        def change(x, k=k):
            changed = structure.unflatten([*leaves[:k], x, *leaves[k + 1 :]])
            h, last = oracle(*changed, **flags, reverse=reverse)
            return np.sum(np.sin(h)) + np.sum(np.cos(last))

        expected = oracles.numerical_gradient(change, leaf)
        for gradient in found:
            assert oracles.relative_error(gradient[k], expected) <= 1e-8


@pytest.mark.slow
@BACKEND
@REVERSE
def test_gated_scan_second_derivatives_equal_finite_differences(reverse, backend):
    arrays, flags = example(4)

    def scan(*arrays):
        arrays = jax.tree.map(jnp.asarray, arrays)  # check_grads perturbs NumPy arrays
        return run(*arrays, **flags, reverse=reverse, backend=backend)

    jax.test_util.check_grads(scan, arrays, order=2, modes=["rev"], atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(
    "backend", ["sequential", pytest.param("associative", marks=pytest.mark.slow)]
)
def test_gated_scan_second_derivatives_equal_those_of_a_plain_loop(x64, backend):
    arrays, flags = jax.tree.map(
        lambda x: x if x.dtype == bool else x.astype(jnp.float64), example(5)
    )

    def plain(preactivations, params, h0, reset_state, *, reset, mask):
        def body(h, step):
            *xs, reset, mask = step
            h = jnp.where(reset[:, None], reset_state[None], h)
            a, b = coefficients(*xs, *(p[None] for p in params))
            h = jnp.where(mask[:, None], a * h + b, h)
            return h, h

        steps = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), (*preactivations, reset, mask))
        last, h = jax.lax.scan(body, h0, steps)
        return jnp.moveaxis(h, 0, 1), last

    def second(f):
        def loss(arrays):
            h, last = f(*arrays, **flags)
            return jnp.sum(jnp.sin(h)) + jnp.sum(jnp.cos(last))

        def of_gradients(arrays):
            return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(jax.grad(loss)(arrays)))

        return jax.tree.leaves(jax.jit(jax.grad(of_gradients))(arrays))

    found = second(functools.partial(run, reverse=False, backend=backend))
    for x, ref in zip(found, second(plain), strict=True):
        assert oracles.relative_error(x, ref) <= 1e-11


@BACKEND
def test_gated_scan_of_no_steps_returns_the_state(backend):
    (preactivations, params, h0, _), _ = example(0)
    h, last = gated_scan(coefficients, preactivations, h0, params=params, backend=backend)
    assert h.shape == (2, 0, 3)
    np.testing.assert_array_equal(last, h0)


@BACKEND
def test_gated_scan_with_coefficients_constant_in_time_broadcasts_them(backend):
    (preactivations, params, h0, _), _ = example(5)
    h, _ = gated_scan(
        lambda x, rate: (jax.nn.sigmoid(rate), x),
        preactivations[:1],
        h0,
        params=params[:1],
        backend=backend,
    )
    expected = oracles.linear_scan(
        oracles.sigmoid(oracles.f64(params[0])[0]), preactivations[0], h0
    )
    assert oracles.relative_error(h, expected) <= 2e-6
    h, _ = gated_scan(lambda x: (0.5, x), preactivations[:1], h0, backend=backend)
    expected = oracles.linear_scan(np.full(3, 0.5), preactivations[0], h0)
    assert oracles.relative_error(h, expected) <= 2e-6


def test_gated_step_folded_over_time_equals_gated_scan():
    (preactivations, params, h, reset_state), flags = example(5)
    expected, last = run(*example(5)[0], **flags, reverse=False, backend="sequential")
    for t in range(5):
        h = gated_step(
            coefficients,
            [x[:, t] for x in preactivations],
            h,
            params=params,
            reset_state=reset_state,
            **{name: flag[:, t] for name, flag in flags.items()},
        )
        np.testing.assert_allclose(h, expected[:, t], rtol=2e-6, atol=2e-7)
    np.testing.assert_allclose(h, last, rtol=2e-6, atol=2e-7)


@dataclass(frozen=True)
class Leaky:
    rate: float

    def __call__(self, x):
        return self.rate, x


def test_gated_scan_with_equal_coefficient_objects_compiles_once():
    x, h0 = jnp.ones((3, 1)), jnp.zeros(1)
    gated_scan(Leaky(0.5), [x], h0)
    before = gated._jitted._cache_size()
    gated_scan(Leaky(0.5), [x], h0)
    assert gated._jitted._cache_size() == before
    h, _ = gated_scan(Leaky(0.25), [x], h0)
    np.testing.assert_allclose(h[:, 0], [1, 1.25, 1.3125])


@pytest.mark.parametrize("transform", ["forward", "backward"])
def test_gated_scan_loop_copies_no_whole_array(transform):
    """A copy of a whole array in a loop's body would make each step cost as much as all of them."""
    (preactivations, params, h0, _), _ = example(64)

    def forward(preactivations, params, h0):
        return gated_scan(coefficients, preactivations, h0, params=params, backend="sequential")

    def backward(*arrays):
        return jax.vjp(forward, *arrays)[1](forward(*arrays))

    f = forward if transform == "forward" else backward
    compiled = jax.jit(f).lower(preactivations, params, h0).compile().as_text()
    body = [line for line in compiled.split("ENTRY")[0].splitlines() if " = f32[2,64,3]" in line]
    assert any("dynamic-update-slice" in line for line in body), "the loop was not found"
    assert not [line for line in body if " copy(" in line]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"preactivations": [jnp.zeros((2, 4, 3)), jnp.zeros((2, 4, 2))]},
            r"preactivations\[0\] must have shape \(2, 4, 2\)",
        ),
        (
            {"preactivations": [jnp.zeros((2, 4, 3), int)] * 2},
            r"preactivations\[0\] must have a real floating dtype, got int32",
        ),
        ({"preactivations": []}, "preactivations must hold at least one array, got none"),
        ({"h0": jnp.zeros((2, 4))}, r"h0 must have shape \(2, 3\), .* got \(2, 4\)"),
        ({"params": [jnp.zeros(2)]}, r"params\[0\] must have shape \(3,\), .* got \(2,\)"),
        ({"params": [jnp.zeros(3, int)]}, r"params\[0\] must have a real floating dtype"),
        ({"mask": jnp.zeros((2, 4))}, "mask must have dtype bool, got float32"),
        ({"backend": "loop"}, "backend must be one of .* got 'loop'"),
        ({"reset_state": jnp.zeros(2)}, r"reset_state must have shape .* got \(2,\)"),
        ({"coefficients": [1]}, r"coefficients must be hashable, .* got \[1\]; pass a function"),
    ],
)
def test_gated_scan_with_invalid_arguments_raises(unchecked, change, message):
    arguments = {
        "coefficients": coefficients,
        "preactivations": [jnp.zeros((2, 4, 3))] * 2,
        "h0": jnp.zeros((2, 3)),
    }
    with pytest.raises(ValueError, match=message):
        gated_scan(**(arguments | change))


def test_gated_step_with_invalid_arguments_raises(unchecked):
    with pytest.raises(ValueError, match=r"preactivations\[0\] must have shape \(2, 3\)"):
        gated_step(lambda x: (0.5, x), [jnp.zeros((2, 4))], jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"reset must have shape \(2,\), .* got \(3,\)"):
        gated_step(
            lambda x: (0.5, x), [jnp.zeros((2, 3))], jnp.zeros((2, 3)), reset=jnp.zeros(3, bool)
        )
