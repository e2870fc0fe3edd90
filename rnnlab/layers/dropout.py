"""Dropout as a pure function of a key."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key


def dropout(
    x: Float[Array, "*shape"],
    rate: float,
    key: Key[Array, ""] | None,
    *,
    shared: int | None = None,
) -> Float[Array, "*shape"]:
    """Zeroes each entry with probability `rate` and scales the rest by `1 / (1 - rate)`.

    `key` None is deterministic: x itself. `shared` names an axis along which one draw holds for all
    entries: with time, this is variational dropout.

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
    check_rate("rate", rate)
    if key is None or rate == 0:
        return x
    shape = list(x.shape)
    if shared is not None:
        shape[shared] = 1
    kept = jnp.broadcast_to(jax.random.bernoulli(key, 1 - rate, shape), x.shape)
    return jnp.where(kept, x / (1 - rate), 0)


def check_rate(name: str, rate: float) -> None:
    if not 0 <= rate < 1:
        raise ValueError(f"{name} is {rate}; a number in [0, 1) is needed")


def key_option(layer: Any, key: Array | None) -> dict[str, Array]:
    """The key as an argument for a layer that takes one; bare cells, which drop nothing, do not."""
    if key is None or "key" not in inspect.signature(type(layer).__call__).parameters:
        return {}
    return {"key": key}
