"""The benchmarks run optax, whose Adam raises a float to an integer count."""

import jax
import pytest


@pytest.fixture(autouse=True)
def implicit_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield
