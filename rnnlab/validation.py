"""What the scans and the cells accept, refused in one line that names the argument."""

from collections.abc import Iterable

import jax.numpy as jnp
from jax import Array


def require_floating(**arrays: Array) -> None:
    for name, x in arrays.items():
        if not jnp.issubdtype(jnp.result_type(x), jnp.floating):
            raise ValueError(
                f"{name} has dtype {jnp.result_type(x)}; a real floating dtype is needed: "
                f"cast it, for example {name}.astype(jnp.float32)"
            )


def require_shape(name: str, x: Array, shape: tuple[int, ...], meaning: str) -> None:
    if jnp.shape(x) != tuple(shape):
        raise ValueError(f"{name} has shape {jnp.shape(x)}; {tuple(shape)} is needed: {meaning}")


def require_flags(shape: tuple[int, ...], meaning: str, **flags: Array | None) -> None:
    for name, x in flags.items():
        if x is None:
            continue
        require_shape(name, x, shape, meaning)
        if jnp.result_type(x) != jnp.bool_:
            raise ValueError(
                f"{name} has dtype {jnp.result_type(x)}; bool is needed, "
                f"for example {name}.astype(bool)"
            )


def require_one_of(name: str, value: object, allowed: Iterable[object]) -> None:
    allowed = tuple(allowed)
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; one of {', '.join(map(repr, allowed))} is needed")


def require_positive_int(**sizes: int) -> None:
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; an int of at least 1 is needed")
