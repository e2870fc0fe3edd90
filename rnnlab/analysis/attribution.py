"""Which inputs a prediction rests on."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from rnnlab.dtypes import accumulation_dtype
from rnnlab.validation import require_floating, require_positive_int

Prediction = Callable[[Array], Array]
"""A number for each sequence: inputs (*batch, time, features) to (*batch,), rows apart."""


def gradient_times_input(
    f: Prediction, xs: Float[Array, "*batch time features"]
) -> Float[Array, "*batch time"]:
    """What each input would take away from the prediction, were `f` linear.

    Args:
      f: from inputs to a number for each sequence. For a model of tokens `model.embed` makes the
        inputs, and `model.predict` reads them.
      xs: the inputs.

    >>> import jax.numpy as jnp
    >>> gradient_times_input(lambda xs: (xs**2).sum((-2, -1)), jnp.array([[1.0], [3.0]]))
    Array([ 2., 18.], dtype=float32)
    """
    require_floating(xs=xs)
    return (_gradient(f)(xs) * xs).sum(-1)


def integrated_gradients(
    f: Prediction,
    xs: Float[Array, "*batch time features"],
    baseline: Float[Array, "*batch time features"] | None = None,
    steps: int = 64,
) -> Float[Array, "*batch time"]:
    """What each input adds to the prediction on the straight way from a baseline.

        (x - x0) times the mean over s in (0, 1) of df/dx at x0 + s (x - x0)

    The sum over a sequence is `f(xs) - f(baseline)`, up to the quadrature.

    Args:
      f, xs: as for `gradient_times_input`.
      baseline: what counts as no input; None is zeros. A model that divides by its states' length
        has no derivative where they are 0: give it the mean of its inputs, or other inputs.
      steps: points of the quadrature, which takes the middle of as many equal parts.

    Source: Sundararajan, Taly and Yan, arXiv 1703.01365, equation 1.

    >>> import jax.numpy as jnp
    >>> integrated_gradients(lambda xs: (xs**2).sum((-2, -1)), jnp.array([[1.0], [3.0]]))
    Array([1., 9.], dtype=float32)
    """
    require_positive_int(steps=steps)
    require_floating(xs=xs)
    wide = accumulation_dtype(xs.dtype)
    start = jnp.zeros(xs.shape, wide)
    if baseline is not None:
        start = jnp.broadcast_to(baseline, xs.shape).astype(wide)
    way = xs.astype(wide) - start
    gradient = _gradient(f)

    def body(total, k):
        share = (k.astype(wide) + 0.5) / steps
        return total + gradient((start + share * way).astype(xs.dtype)).astype(wide), None

    total = lax.scan(body, jnp.zeros(xs.shape, wide), jnp.arange(steps))[0]
    return (way * total / steps).sum(-1)


def _gradient(f):
    """Of f as it is now: compiled for this call, since what f holds may change."""
    return jax.jit(lambda xs: jax.grad(lambda xs: f(xs).sum())(xs))
