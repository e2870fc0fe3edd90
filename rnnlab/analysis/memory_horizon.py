"""Memory horizon: for how many time steps an input affects the output."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Float, Int

from rnnlab.analysis._batching import call_options, check_steps
from rnnlab.analysis._norms import l2_norm
from rnnlab.validation import require_floating


def input_sensitivity(
    model: nnx.Module,
    carry: Any,
    xs: Float[Array, "*batch time in_features"],
    *,
    gaps: Float[Array, "*batch time"] | None = None,
) -> Float[Array, "*batch lag features"]:
    """The norm of `d y[T-1] / d x[T-1-lag]` for every output feature and lag, from lag 0.

    Args:
      model: a cell, block, stack, or model of values. For a model of tokens pass one of its cells
        with the inputs that `rnnlab.analysis.cell_inputs` returns.
      carry, xs, gaps: arguments of its call, without padding: lags count from the last time step.

    It costs one backward pass per output feature.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import MinGRU
    >>> cell = MinGRU(3, 4, rngs=nnx.Rngs(0), candidate="identity")
    >>> found = input_sensitivity(cell, cell.initial_carry(()), jnp.zeros((5, 3)))
    >>> found[1:, 0] / found[:-1, 0]  # decays of 0.5
    Array([0.5, 0.5, 0.5, 0.5], dtype=float32)
    """
    require_floating(xs=xs)  # token ids have no derivative
    check_steps(xs, xs.ndim - 2)
    graphdef, params = nnx.split(model)
    return _input_sensitivity(graphdef, params, carry, xs, call_options(model, xs, gaps=gaps))


@partial(jax.jit, static_argnums=0)
def _input_sensitivity(graphdef, params, carry, xs, options):
    model = nnx.merge(graphdef, params, copy=True)
    last, vjp = jax.vjp(lambda xs: model(carry, xs, **options)[1][..., -1, :], xs)

    def sensitivity(one_hot):
        dxs = vjp(jnp.broadcast_to(one_hot, last.shape))[0]
        return l2_norm(dxs)

    # Sequences of a batch are independent, so that one pass serves all of them.
    norms = lax.map(sensitivity, jnp.eye(last.shape[-1], dtype=last.dtype), batch_size=16)
    return jnp.flip(jnp.moveaxis(norms, 0, -1), -2)


def memory_horizon(
    sensitivity: Float[Array, "*batch lag features"], threshold: float = 0.05
) -> Int[Array, "*batch features"]:
    """The lag from which on the sensitivity to an input stays below a fraction of the largest.

    For the horizon of a whole layer, pass the norm over its features,
    `jnp.linalg.norm(sensitivity, axis=-1, keepdims=True)`. The number of lags in the result means
    that the horizon is longer; 0 means that no input has an effect.

    Args:
      sensitivity: what `input_sensitivity` returns.
      threshold: the fraction, between 0 and 1.

    Raises:
      ValueError: threshold is not between 0 and 1.

    >>> import jax.numpy as jnp
    >>> memory_horizon((0.9 ** jnp.arange(100.0))[:, None])  # log 0.05 / log 0.9 is 28.4
    Array([29], dtype=int32)
    """
    _require_fraction(threshold)
    lags = sensitivity.shape[-2]
    largest = jnp.nanmax(sensitivity, -2, keepdims=True)
    above = (sensitivity >= threshold * largest) & (sensitivity > 0)
    above |= jnp.isnan(sensitivity)  # NaN counts as remembered
    lag = jnp.arange(1, lags + 1, dtype=jnp.int32)[:, None]
    lag = lag.reshape((1,) * (sensitivity.ndim - 2) + lag.shape)
    return jnp.max(jnp.where(above, lag, 0), -2)


def decay_horizon(a: Float[Array, "*batch"], threshold: float = 0.05) -> Float[Array, "*batch"]:
    """The number of time steps after which a power of the decay `a` falls to a fraction.

    It is log(threshold) / log(|a|), the horizon of a linear cell with a constant decay, not rounded
    to whole lags. It is infinite where |a| >= 1.

    Raises:
      ValueError: threshold is not between 0 and 1.

    >>> decay_horizon(jnp.array(0.9)).round(3)
    Array(28.433, dtype=float32)
    """
    _require_fraction(threshold)
    size = jnp.abs(a)
    forgets = size < 1
    steps = jnp.log(jnp.asarray(threshold, a.dtype)) / jnp.log(jnp.where(forgets, size, 0.5))
    return jnp.where(forgets, steps, jnp.inf)


def _require_fraction(threshold: float) -> None:
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must be between 0 and 1, got {threshold}")
