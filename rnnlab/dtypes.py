"""Dtype rules of the package: what layers compute in, and what states and sums are kept in."""

import jax.numpy as jnp
from jax.typing import DTypeLike


def accumulation_dtype(*dtypes: DTypeLike) -> jnp.dtype:
    """Returns the dtype in which states, gates and sums of values of these dtypes are kept.

    It has at least 32 bits per real number, 64 if any dtype has, and is complex if any dtype is.

    >>> print(accumulation_dtype("bfloat16"), accumulation_dtype("float32", "float64"))
    float32 float64
    >>> print(accumulation_dtype("float16", "complex64"))
    complex64
    """
    given = [jnp.dtype(dtype) for dtype in dtypes]
    wide = any(dtype in (jnp.float64, jnp.complex128) for dtype in given)
    if any(jnp.issubdtype(dtype, jnp.complexfloating) for dtype in given):
        return jnp.dtype(jnp.complex128 if wide else jnp.complex64)
    return jnp.dtype(jnp.float64 if wide else jnp.float32)


def compute_dtype(dtype: DTypeLike | None, param_dtype: DTypeLike) -> jnp.dtype:
    """Returns the dtype in which a layer computes: `dtype`, or else `param_dtype`.

    Raises:
      ValueError: one of the two is not a real floating dtype.

    >>> print(compute_dtype(None, "float32"), compute_dtype("bfloat16", "float32"))
    float32 bfloat16
    """
    for name, value in (("param_dtype", param_dtype), ("dtype", dtype)):
        if value is not None and not jnp.issubdtype(value, jnp.floating):
            raise ValueError(
                f"{name} must be a real floating dtype, got {jnp.dtype(value)}; "
                "choose one such as 'float32' or 'bfloat16'"
            )
    return jnp.dtype(param_dtype if dtype is None else dtype)
