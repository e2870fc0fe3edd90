"""Which inputs a prediction rests on."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from rnnlab.scan.checks import check_size

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
    return (_gradient(f, xs) * xs).sum(-1)


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
    check_size(steps=steps)
    start = jnp.zeros_like(xs) if baseline is None else jnp.broadcast_to(baseline, xs.shape)

    def body(total, k):
        share = (k.astype(xs.dtype) + 0.5) / steps
        return total + _gradient(f, start + share * (xs - start)), None

    total = lax.scan(body, jnp.zeros_like(xs), jnp.arange(steps))[0]
    return ((xs - start) * total / steps).sum(-1)


@partial(jax.jit, static_argnums=0)
def _gradient(f, xs):
    return jax.grad(lambda xs: f(xs).sum())(xs)
