"""How far back what a cell puts out depends on what it has read."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Float, Int

from rnnlab.analysis._batching import check_steps
from rnnlab.analysis._norms import length
from rnnlab.validation import require_floating


def influence(
    model: nnx.Module, carry: Any, xs: Float[Array, "*batch time in_features"]
) -> Float[Array, "*batch lag features"]:
    """The norm of `d y[T-1] / d x[T-1-lag]` for every output feature and lag, the nearest first.

    Args:
      model: a cell, block, stack, or model of values: whatever maps sequences to sequences. For a
        model of tokens take one of its cells, with what `rnnlab.analysis.cell_inputs` gives.
      carry, xs: what it is called with, without padding: the last step is looked back from.

    One pass backwards for each output feature, some at a time.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import MinGRU
    >>> cell = MinGRU(3, 4, rngs=nnx.Rngs(0), candidate="identity")
    >>> found = influence(cell, cell.initial_carry(()), jnp.zeros((5, 3)))
    >>> found[1:, 0] / found[:-1, 0]  # decays of 0.5
    Array([0.5, 0.5, 0.5, 0.5], dtype=float32)
    """
    require_floating(xs=xs)  # token ids have no derivative
    check_steps(xs, xs.ndim - 2)
    graphdef, params = nnx.split(model)
    return _influence(graphdef, params, carry, xs)


@partial(jax.jit, static_argnums=0)
def _influence(graphdef, params, carry, xs):
    model = nnx.merge(graphdef, params, copy=True)
    last, pull = jax.vjp(lambda xs: model(carry, xs)[1][..., -1, :], xs)

    def of_feature(one):
        dxs = pull(jnp.broadcast_to(one, last.shape))[0]
        return length(dxs)

    # Rows of a batch do not meet, so that one pass serves all of them.
    norms = lax.map(of_feature, jnp.eye(last.shape[-1], dtype=last.dtype), batch_size=16)
    return jnp.flip(jnp.moveaxis(norms, 0, -1), -2)


def memory_horizon(
    influence: Float[Array, "*batch lag features"], share: float = 0.05
) -> Int[Array, "*batch features"]:
    """The lag from which on an input's influence stays below a share of the largest.

    For the horizon of a layer as a whole, give the norm over its features,
    `jnp.linalg.norm(influence, axis=-1, keepdims=True)`. The number of lags given stands for "not
    within these", and 0 for no influence at all.

    Raises:
      ValueError: share is not between 0 and 1.

    >>> import jax.numpy as jnp
    >>> memory_horizon((0.9 ** jnp.arange(100.0))[:, None])  # log 0.05 / log 0.9 is 28.4
    Array([29], dtype=int32)
    """
    _check_share(share)
    lags = influence.shape[-2]
    largest = jnp.nanmax(influence, -2, keepdims=True)
    above = (influence >= share * largest) & (influence > 0)
    above |= jnp.isnan(influence)  # what is unknown is not forgotten
    lag = jnp.arange(1, lags + 1, dtype=jnp.int32)[:, None]
    lag = lag.reshape((1,) * (influence.ndim - 2) + lag.shape)
    return jnp.max(jnp.where(above, lag, 0), -2)


def decay_horizon(a: Float[Array, "*batch"], share: float = 0.05) -> Float[Array, "*batch"]:
    """The number of steps within which a product of the decay `a` falls to a share: log_a share.

    A minimal cell's horizon where its decay is constant, between whole lags too; infinite where
    |a| is at least 1.

    Raises:
      ValueError: share is not between 0 and 1.

    >>> decay_horizon(jnp.array(0.9)).round(3)
    Array(28.433, dtype=float32)
    """
    _check_share(share)
    size = jnp.abs(a)
    forgets = size < 1
    steps = jnp.log(jnp.asarray(share, a.dtype)) / jnp.log(jnp.where(forgets, size, 0.5))
    return jnp.where(forgets, steps, jnp.inf)


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; a number between 0 and 1 is needed")
