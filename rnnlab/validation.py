"""Checks of arguments. Each raises a ValueError of one line that names the argument.

JAX is imported only where an array is checked, so that tasks and the command line can import this
module without it.
"""

from collections.abc import Iterable
from typing import Any


def require_floating(**arrays: Any) -> None:
    """Raises unless every array has a real floating dtype.

    >>> require_floating(h0=3)
    Traceback (most recent call last):
    ValueError: h0 must have a real floating dtype, got int32; cast it: h0.astype(jnp.float32)
    """
    import jax.numpy as jnp

    for name, x in arrays.items():
        if not jnp.issubdtype(jnp.result_type(x), jnp.floating):
            raise ValueError(
                f"{name} must have a real floating dtype, got {jnp.result_type(x)}; "
                f"cast it: {name}.astype(jnp.float32)"
            )


def require_inexact(**arrays: Any) -> None:
    """Raises unless every array has a real or complex floating dtype."""
    import jax.numpy as jnp

    for name, x in arrays.items():
        if not jnp.issubdtype(jnp.result_type(x), jnp.inexact):
            raise ValueError(
                f"{name} must have a real or complex floating dtype, got {jnp.result_type(x)}; "
                f"cast it: {name}.astype(jnp.float32)"
            )


def require_shape(name: str, x: Any, shape: tuple[Any, ...], meaning: str) -> None:
    """Raises unless `x` has `shape`; `meaning` describes that shape.

    >>> import numpy as np
    >>> require_shape("a", np.ones((2, 3)), (4, 3), "the shape of b")
    Traceback (most recent call last):
    ValueError: a must have shape (4, 3), the shape of b, got (2, 3); reshape or broadcast it
    """
    found = getattr(x, "shape", None)
    if found is None:
        import numpy as np

        found = np.shape(x)
    if tuple(found) != tuple(shape):
        raise ValueError(
            f"{name} must have shape {tuple(shape)}, {meaning}, got {tuple(found)}; "
            "reshape or broadcast it"
        )


def require_flags(shape: tuple[Any, ...], meaning: str, **flags: Any) -> None:
    """Raises for a flag that is not a bool array of `shape`; accepts None. See `require_shape`."""
    import jax.numpy as jnp

    for name, x in flags.items():
        if x is None:
            continue
        require_shape(name, x, shape, meaning)
        if jnp.result_type(x) != jnp.bool_:
            raise ValueError(
                f"{name} must have dtype bool, got {jnp.result_type(x)}; "
                f"cast it: {name}.astype(bool)"
            )


def require_key(name: str, key: Any) -> None:
    """Raises unless `key` is a single random key of JAX.

    >>> require_key("key", 0)
    Traceback (most recent call last):
    ValueError: key must be a random key, got 0; pass jax.random.key(0)
    """
    import jax
    import jax.numpy as jnp

    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    is_typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    is_raw = dtype == jnp.uint32 and shape == (2,)  # of jax.random.PRNGKey
    if not (is_typed and shape == ()) and not is_raw:
        found = repr(key) if dtype is None else f"an array of shape {shape} and dtype {dtype}"
        example = key if isinstance(key, int) else 0
        raise ValueError(
            f"{name} must be a random key, got {found}; pass jax.random.key({example})"
        )


def require_not_negative(name: str, x: Any, mask: Any = None) -> None:
    """Raises for a number that is negative or NaN, where `mask` is None or True.

    Within `jax.jit` the values are unknown, and nothing is checked.

    >>> import numpy as np
    >>> require_not_negative("gaps", np.array([0.5, -1.0]))
    Traceback (most recent call last):
    ValueError: gaps must be >= 0, got -1.0 at index (1,); sort the time steps
    """
    import jax
    import numpy as np

    if isinstance(x, jax.core.Tracer) or isinstance(mask, jax.core.Tracer):
        return
    x = np.asarray(x)
    is_wrong = ~(x >= 0)
    if mask is not None:
        is_wrong &= np.asarray(mask)
    if is_wrong.any():
        index = tuple(map(int, np.argwhere(is_wrong)[0]))
        raise ValueError(
            f"{name} must be >= 0, got {x[index]} at index {index}; sort the time steps"
        )


def require_tokens(name: str, ids: Any, vocab_size: int, mask: Any = None) -> None:
    """Raises for a token id outside [0, vocab_size), where `mask` is None or True.

    Within `jax.jit` the values are unknown, and nothing is checked.

    >>> import numpy as np
    >>> require_tokens("xs", np.array([[3, 9]]), 5)
    Traceback (most recent call last):
    ValueError: xs must be token ids in [0, 5), got 9 at index (0, 1); correct the id
    """
    import jax
    import numpy as np

    if isinstance(ids, jax.core.Tracer) or isinstance(mask, jax.core.Tracer):
        return
    ids = np.asarray(ids)
    is_wrong = (ids < 0) | (ids >= vocab_size)
    if mask is not None:
        is_wrong &= np.asarray(mask)
    if is_wrong.any():
        index = tuple(map(int, np.argwhere(is_wrong)[0]))
        place = f" at index {index}" if index else ""
        raise ValueError(
            f"{name} must be token ids in [0, {vocab_size}), got {ids[index]}{place}; correct "
            "the id"
        )


def require_one_of(name: str, value: object, allowed: Iterable[object]) -> None:
    """Raises unless `value` equals one of the `allowed` values.

    >>> require_one_of("merge", "mean", ("concat", "sum"))
    Traceback (most recent call last):
    ValueError: merge must be one of 'concat', 'sum', got 'mean'
    """
    allowed = tuple(allowed)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def require_positive_int(**sizes: Any) -> None:
    """Raises unless every size is an int of 1 or more.

    >>> require_positive_int(features=0)
    Traceback (most recent call last):
    ValueError: features must be an int >= 1, got 0
    """
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            is_other_integer = hasattr(value, "__index__") and not isinstance(value, int)
            action = f"; pass int({name})" if is_other_integer else ""
            raise ValueError(f"{name} must be an int >= 1, got {value!r}{action}")
