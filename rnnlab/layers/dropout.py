"""Dropout as a pure function of a key."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from rnnlab.recurrent import Recurrent


def dropout(
    x: Float[Array, "*shape"],
    rate: float,
    key: Key[Array, ""] | None,
    *,
    broadcast_axis: int | None = None,
) -> Float[Array, "*shape"]:
    """Sets each entry to 0 with probability `rate` and scales the others by `1 / (1 - rate)`.

    Without a key, x is returned unchanged. All entries along `broadcast_axis` share one draw; with
    the time axis, this is variational dropout.

    Raises:
      ValueError: rate is not in [0, 1).

    Source: Srivastava et al., "Dropout", JMLR 15 (2014), in its inverted form; variational: Gal and
    Ghahramani, arXiv 1512.05287.

    >>> import jax, jax.numpy as jnp
    >>> x = jnp.ones(4)
    >>> bool((dropout(x, 0.5, None) == x).all())
    True
    >>> sorted(set(dropout(jnp.ones(99), 0.5, jax.random.key(0)).tolist()))
    [0.0, 2.0]
    """
    require_rate("rate", rate)
    if key is None or rate == 0:
        return x
    shape = list(x.shape)
    if broadcast_axis is not None:
        shape[broadcast_axis] = 1
    kept = jnp.broadcast_to(jax.random.bernoulli(key, 1 - rate, shape), x.shape)
    return jnp.where(kept, x / (1 - rate), 0)


def require_rate(name: str, rate: float) -> None:
    """Raises ValueError unless `rate` is in [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(f"{name} must be in [0, 1), got {rate}")


def key_option(layer: Any, key: Array | None) -> dict[str, Array | None]:
    """Returns `{"key": key}` for a `Recurrent`; the contract of other cells has no key."""
    return {"key": key} if isinstance(layer, Recurrent) else {}
