"""linear_scan of complex numbers, and of one decay per feature, against loops of plain JAX."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from rnnlab import linear_scan
from rnnlab.dtypes import accumulation_dtype
from rnnlab.scan import resolve_backend
from rnnlab.testing import TOLERANCE

BACKEND = pytest.mark.parametrize("backend", ["sequential", "associative"])
F32, F64, C64, C128 = jnp.float32, jnp.float64, jnp.complex64, jnp.complex128


def name(argument):
    """A readable id of a tuple of dtypes."""
    return "-".join(x.__name__ for x in argument) if isinstance(argument, tuple) else None


def example(length, dtypes=(C64, C64, C64), *, constant=False, seed=0):
    """a, b, h0, resets and a cotangent; `a` is within the unit disk, per feature if `constant`."""
    keys = jax.random.split(jax.random.key(seed), 4)
    a = jax.random.normal(keys[0], (3,) if constant else (2, length, 3), dtypes[0])
    a = a / (1 + jnp.abs(a)).astype(a.dtype)
    b, h0 = (
        jax.random.normal(keys[1], (2, length, 3), dtypes[1]),
        jax.random.normal(keys[2], (2, 3), dtypes[2]),
    )
    return a, b, h0, jax.random.bernoulli(keys[3], 0.2, (2, length))


def plain_scan(a, b, h0, reset, reverse):
    """The recurrence as a `jax.lax.scan`, whose derivatives are JAX's own."""
    dtype = accumulation_dtype(a.dtype, b.dtype, h0.dtype)
    a, b, h0 = jnp.broadcast_to(a, b.shape).astype(dtype), b.astype(dtype), h0.astype(dtype)

    def body(h, step):
        a, b, reset = step
        h = b + a * jnp.where(reset[:, None], 0, h)
        return h, h

    steps = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), (a, b, reset))
    return jnp.moveaxis(jax.lax.scan(body, h0, steps, reverse=reverse)[1], 0, 1)


def derivatives(scan):
    """A jitted function to all gradients of first and second order of a real loss."""

    def loss(*operands):
        h = scan(*operands)
        return jnp.sum(jnp.sin(jnp.real(h)) + jnp.cos(2 * jnp.imag(h)))

    def of_gradients(*operands):
        gradients = jax.grad(loss, (0, 1, 2))(*operands)
        return sum(jnp.sum(jnp.sin(jnp.real(x)) + jnp.cos(3 * jnp.imag(x))) for x in gradients)

    @jax.jit
    def run(*operands):
        return jax.grad(loss, (0, 1, 2))(*operands), jax.grad(of_gradients, (0, 1, 2))(*operands)

    return run


@BACKEND
@pytest.mark.parametrize(
    ("dtypes", "dtype"),
    [
        ((C64, C64, C64), C64),
        ((F32, C64, F32), C64),
        ((C64, jnp.bfloat16, F32), C64),
        ((F32, F32, C64), C64),
        ((C64, F64, F32), C128),
        ((C128, C64, C64), C64),
    ],
    ids=name,
)
def test_linear_scan_with_complex_operands_equals_the_loop(x64, dtypes, dtype, backend):
    a, b, h0, reset = example(9, dtypes)
    h = linear_scan(a, b, h0, reset=reset, backend=backend)
    assert h.dtype == dtype
    assert (
        oracles.relative_error(h, oracles.linear_scan(a, b, h0, reset))
        <= TOLERANCE[jnp.dtype(dtype)]
    )


@BACKEND
@pytest.mark.parametrize(
    ("dtypes", "constant", "reverse"),
    [
        ((C128, C128, C128), False, False),
        ((F64, C128, F64), False, True),
        ((C128, F64, F64), True, False),
        ((F64, F64, F64), True, True),
    ],
    ids=name,
)
def test_derivatives_of_both_orders_equal_those_of_a_plain_loop(
    x64, dtypes, constant, reverse, backend
):
    *operands, reset = example(6, dtypes, constant=constant)
    found = derivatives(partial(linear_scan, reset=reset, reverse=reverse, backend=backend))
    expected = derivatives(partial(plain_scan, reset=reset, reverse=reverse))
    for x, ref, operand in zip(
        *map(jax.tree.leaves, (found(*operands), expected(*operands))), 2 * operands, strict=True
    ):
        assert (x.dtype, x.shape) == (operand.dtype, operand.shape)
        assert oracles.relative_error(x, ref) <= 1e-12


@BACKEND
@pytest.mark.parametrize(("length", "reverse"), [(1, False), (33, False), (33, True)])
def test_linear_scan_with_one_decay_per_feature_equals_that_of_every_step(length, reverse, backend):
    a, b, h0, reset = example(length, (F32, F32, F32), constant=True)
    for flags in (None, reset):
        scan = partial(linear_scan, reset=flags, reverse=reverse, backend=backend)
        h, pull = jax.vjp(scan, a, b, h0)
        repeated, pull_repeated = jax.vjp(scan, jnp.broadcast_to(a, b.shape), b, h0)
        (da, *others), (da_steps, *expected) = pull(b), pull_repeated(b)
        expected = (repeated, da_steps.sum((0, 1)), *expected)
        for x, ref in zip((h, da, *others), expected, strict=True):
            assert oracles.relative_error(x, ref) <= 4e-6


def test_sequential_scan_with_one_decay_per_feature_stores_no_array_of_every_step():
    a, b, h0, reset = example(64, (F32, F32, F32), constant=True)

    def training_step(a, b, h0, dh):
        h, pull = jax.vjp(partial(linear_scan, reset=reset, backend="sequential"), a, b, h0)
        return h, pull(dh)

    compiled = jax.jit(training_step).lower(a, b, h0, b).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < b.nbytes


def test_linear_scan_under_vmap_sums_the_gradient_of_a_shared_decay():
    a, b, h0, _ = example(5, (F32, F32, F32), constant=True)

    def loss(a, b, h0):
        return jnp.sum(linear_scan(a, b, h0) ** 2)

    def mapped(a):
        return jnp.sum(jax.vmap(loss, (None, 0, 0))(a, b, h0))

    np.testing.assert_allclose(jax.grad(mapped)(a), jax.grad(loss)(a, b, h0), rtol=1e-5)


@BACKEND
def test_complex_scan_with_nan_before_a_reset_keeps_it_there(backend):
    a, b, h0, _ = example(9)
    reset = jnp.zeros((2, 9), bool).at[:, 4].set(True)
    scan = jax.jit(partial(linear_scan, backend=backend))
    clean, dirty = (scan(a, x, h0, reset=reset) for x in (b, b.at[:, 2].set(jnp.nan)))
    np.testing.assert_array_equal(dirty[:, 4:], clean[:, 4:])
    assert jnp.isnan(dirty[:, 2:4]).all()


def test_pallas_with_complex_or_constant_decay_falls_back():
    assert resolve_backend("pallas", "gpu", "complex64") == "associative"
    assert resolve_backend("pallas", "tpu", time_invariant=True) == "associative"
    for dtypes, constant in (((C64, C64, C64), False), ((F32, F32, F32), True)):
        a, b, h0, _ = example(4, dtypes, constant=constant)
        scan = partial(linear_scan, backend="pallas")
        text = jax.jit(scan).trace(a, b, h0).lower(lowering_platforms=("cuda",)).as_text()
        assert "mosaic" not in text
        np.testing.assert_array_equal(scan(a, b, h0), linear_scan(a, b, h0))
