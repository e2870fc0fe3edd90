"""The contract of a scan, as a check."""

from typing import Any

import jax
import jax.numpy as jnp

from rnnlab.scan import linear_scan
from rnnlab.testing.tolerances import assert_close


def check_scan(scan: Any, seed: int = 0) -> None:
    """Checks a function of `linear_scan`'s arguments a, b, h0, reset, reverse, and its gradients.

    The reference is the sequential backend in the same dtype, itself held to a float64 loop. No NaN
    may pass a reset, time may be 0, h0 None, and h has b's dtype.

    >>> from functools import partial
    >>> check_scan(partial(linear_scan, backend="associative"))
    """
    keys = jax.random.split(jax.random.key(seed), 5)
    for length in (1, 2, 7, 64):
        shape = (2, length, 3)
        a = jax.nn.sigmoid(jax.random.normal(keys[0], shape))
        b, dh = jax.random.normal(keys[1], shape), jax.random.normal(keys[2], shape)
        h0 = jax.random.normal(keys[3], (2, 3))
        resets = jax.random.bernoulli(keys[4], 0.2, shape[:-1])
        for reset in (None, resets):
            for reverse in (False, True):
                results = [
                    _with_gradients(f, (a, b, h0), dh, reset=reset, reverse=reverse)
                    for f in (scan, _sequential)
                ]
                flags = f"length {length}, reset {reset is not None}, reverse {reverse}"
                assert_close(*results, f"scan and its gradients at {flags}")
    assert scan(a[:, :0], b[:, :0], None, reset=None, reverse=False).shape == (2, 0, 3)
    narrow = scan(a, b.astype(jnp.bfloat16), None, reset=None, reverse=False)
    assert narrow.dtype == jnp.bfloat16, f"h has dtype {narrow.dtype}, b's is bfloat16"
    reset = jnp.zeros(shape[:-1], bool).at[:, 5].set(True)
    lost = jnp.full_like(h0, jnp.nan)
    for x, clean in zip(
        _with_gradients(scan, (a, b, lost), dh, reset=reset, reverse=False)[1][:2],
        _with_gradients(scan, (a, b, h0), dh, reset=reset, reverse=False)[1][:2],
        strict=True,
    ):
        assert_close(x[:, 5:], clean[:, 5:], "gradients after a reset that follows NaN")


def _sequential(a, b, h0, *, reset, reverse):
    return linear_scan(a, b, h0, reset=reset, reverse=reverse, backend="sequential")


def _with_gradients(f, arguments, dh, **flags):
    def call(*arguments):
        return f(*arguments, **flags)

    h, pull = jax.vjp(call, *arguments)
    return h, pull(dh)
