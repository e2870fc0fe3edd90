"""Attribution: how much each input contributes to a prediction."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from rnnlab.dtypes import accumulation_dtype
from rnnlab.validation import require_floating, require_positive_int

Prediction = Callable[[Array], Array]
"""Maps inputs (*batch, time, features) to one number per sequence, (*batch,)."""


def gradient_times_input(
    f: Prediction, xs: Float[Array, "*batch time features"]
) -> Float[Array, "*batch time"]:
    """The contribution of each input to the prediction, to first order.

    Args:
      f: maps inputs to one number per sequence, independently. For a model of tokens,
        `model.embed` computes the inputs and `model.predict` reads them.
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
    """The contribution of each input to the prediction, integrated from a baseline.

        (x - x0) times the mean over s in (0, 1) of df/dx at x0 + s (x - x0)

    The sum over a sequence is `f(xs) - f(baseline)`, up to the quadrature.

    Args:
      f, xs: as for `gradient_times_input`.
      baseline: inputs that count as the absence of input; None is zeros. A model that normalizes
        its states has no derivative where they are 0: pass the mean of its inputs instead.
      steps: points of the midpoint quadrature.

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
    difference = xs.astype(wide) - start
    gradient = _gradient(f)

    def body(total, k):
        fraction = (k.astype(wide) + 0.5) / steps
        return total + gradient((start + fraction * difference).astype(xs.dtype)).astype(wide), None

    total = lax.scan(body, jnp.zeros(xs.shape, wide), jnp.arange(steps))[0]
    return (difference * total / steps).sum(-1)


def _gradient(f):
    """The gradient of f, compiled in each call because the parameters in f may change."""
    return jax.jit(lambda xs: jax.grad(lambda xs: f(xs).sum())(xs))
