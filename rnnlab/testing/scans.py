"""The contract of a scan as a check, for backends of rnnlab and for users' own."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.scan import linear_scan
from rnnlab.testing.tolerances import assert_close

CASES = (
    # length, whether there are resets, reverse
    (1, True, False),
    (2, True, True),
    (7, False, False),
    (7, True, True),
    (64, True, False),
)


def check_scan(scan: Callable[..., Array], seed: int = 0) -> None:
    """Checks a function with `linear_scan`'s arguments a, b, h0, reset, reverse, and its gradients.

    The reference is the sequential backend in the same dtype, which the tests compare with a
    float64 loop. Also, `h` has b's dtype, `h0` may be None, time may be 0, and neither a state nor
    a gradient is NaN after a reset because of NaN before it.

    Args:
      scan: called as `scan(a, b, h0, reset=..., reverse=...)`.
      seed: seed of the random arguments.

    Raises:
      AssertionError: a check fails; the message names it.

    >>> from functools import partial
    >>> check_scan(partial(linear_scan, backend="associative"))
    """
    for length, with_reset, reverse in CASES:
        a, b, h0, dh, reset = _example(length, seed)
        flags = {"reset": reset if with_reset else None, "reverse": reverse}
        found, expected = (_with_gradients(f, a, b, h0, dh, **flags) for f in (scan, _sequential))
        case = f"length {length}, resets {with_reset}, reverse {reverse}"
        assert_close(found, expected, f"the scan and its gradients with {case}")
    assert scan(a[:, :0], b[:, :0], None, reset=None, reverse=False).shape == (2, 0, 3), (
        "a scan of no time steps must return no states"
    )
    h = scan(a, b.astype(jnp.bfloat16), None, reset=None, reverse=False)
    assert h.dtype == jnp.bfloat16, f"h must have b's dtype, bfloat16, got {h.dtype}"
    reset = jnp.zeros(reset.shape, bool).at[:, 5].set(True)
    run = partial(_with_gradients, scan, a, b, dh=dh, reset=reset, reverse=False)
    clean, dirty = run(h0), run(jnp.full_like(h0, jnp.nan))
    for name, x, ref in zip(("h", "da", "db"), dirty, clean, strict=False):
        assert_close(x[:, 5:], ref[:, 5:], f"{name} after a reset, with NaN before it")


def _example(length: int, seed: int) -> tuple[Array, ...]:
    """Returns a, b, h0, the cotangent of h, and resets."""
    keys = jax.random.split(jax.random.key(seed), 5)
    shape = (2, length, 3)
    a = jax.nn.sigmoid(jax.random.normal(keys[0], shape))
    b, dh = jax.random.normal(keys[1], shape), jax.random.normal(keys[2], shape)
    h0 = jax.random.normal(keys[3], (2, 3))
    return a, b, h0, dh, jax.random.bernoulli(keys[4], 0.2, shape[:-1])


_sequential = partial(linear_scan, backend="sequential")


def _with_gradients(scan, a, b, h0, dh, **flags):
    """Returns h and the cotangents of a, b and h0."""
    h, pull = jax.vjp(partial(scan, **flags), a, b, h0)
    return h, *pull(dh)
