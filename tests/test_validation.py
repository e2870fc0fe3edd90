"""The checks of arguments: what they accept, and that they need no JAX until they see an array."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab import validation


def test_validation_imported_alone_imports_no_jax():
    code = "import sys; import rnnlab.validation; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_require_floating_with_16_bit_and_numpy_arrays_accepts_them():
    validation.require_floating(a=jnp.zeros(1, jnp.bfloat16), b=np.zeros(1), c=0.5)
    validation.require_inexact(a=jnp.zeros(1, jnp.complex64), b=jnp.zeros(1, jnp.float16))
    validation.require_flags((2,), "any", reset=None, mask=np.zeros(2, bool))


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            lambda: validation.require_floating(xs=jnp.zeros(1, jnp.complex64)),
            "xs must have a real floating dtype, got complex64; cast it",
        ),
        (
            lambda: validation.require_inexact(b=np.zeros(1, int)),
            "b must have a real or complex floating dtype, got int",
        ),
        (
            lambda: validation.require_shape("h0", np.zeros(3), (2,), "the shape of b"),
            r"h0 must have shape \(2,\), the shape of b, got \(3,\)",
        ),
        (
            lambda: validation.require_flags((2,), "any", mask=np.zeros(2, np.float32)),
            "mask must have dtype bool, got float32; cast it",
        ),
        (lambda: validation.require_positive_int(size=1.0), "size must be an int >= 1"),
        (lambda: validation.require_one_of("x", 3, (1, 2)), "x must be one of 1, 2, got 3"),
    ],
)
def test_checks_of_invalid_values_raise(check, message):
    with pytest.raises(ValueError, match=message):
        check()
