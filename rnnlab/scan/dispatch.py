"""The backends of scans: their names, and which of them runs on a platform."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from rnnlab.scan.pallas import ops
from rnnlab.scan.pallas.driver import KernelBackend
from rnnlab.validation import require_one_of

BACKENDS = ("auto", "sequential", "associative", "pallas")
"""Values of the argument `backend`."""


def resolve_backend(
    backend: str,
    platform: str,
    dtype: DTypeLike = jnp.float32,
    *,
    features: int = 128,
    time_invariant: bool = False,
) -> str:
    """Returns the backend that runs on a platform ("cpu", "gpu", "tpu") for the name `backend`.

    Args:
      backend: one of `BACKENDS`.
      platform: as JAX names it.
      dtype: dtype of the states, which is `rnnlab.dtypes.accumulation_dtype` of the arguments.
      features: number of features. `"auto"` uses the kernel for a multiple of 128.
      time_invariant: whether `a` has shape (features,).

    >>> resolve_backend("auto", "cpu"), resolve_backend("pallas", "cpu")
    ('sequential', 'sequential')
    >>> resolve_backend("pallas", "tpu", "float64"), resolve_backend("pallas", "tpu", "complex64")
    ('associative', 'associative')
    """
    require_one_of("backend", backend, BACKENDS)
    platform = "cuda" if platform == "gpu" else platform
    if not time_invariant and platform in _kernels(backend, dtype, features):
        return "pallas"
    if backend in ("auto", "pallas"):
        return "sequential" if platform == "cpu" else "associative"
    return backend


def _kernels(backend: str, dtype: DTypeLike, features: int) -> dict[str, KernelBackend]:
    """The kernels that a backend uses, by the name of the platform."""
    if backend == "auto":
        return ops.default_kernels(dtype, features)
    return ops.available_kernels(dtype) if backend == "pallas" else {}


def dispatch(
    backend: str,
    dtype: DTypeLike,
    features: int,
    operands: Sequence[Any],
    *,
    sequential: Callable[..., Any],
    parallel: Callable[..., Any],
    kernel: Callable[..., Any] | None,
) -> Any:
    """Runs one of three forms of an operation: the backend's, or the lowering platform's.

    Args:
      backend: one of `BACKENDS`.
      dtype: dtype of the states.
      features: number of features.
      operands: arguments of the operation.
      sequential: the form of `"sequential"`.
      parallel: the form of `"associative"`.
      kernel: the form of `"pallas"`, which takes a `KernelBackend` first; None for operands that
        no kernel accepts. None accepts a symbolic size, of an exported program.
    """
    if backend == "sequential":
        return sequential(*operands)
    if backend == "associative":
        return parallel(*operands)
    sizes = (size for x in jax.tree.leaves(operands) for size in x.shape)
    is_static = all(isinstance(size, int) for size in sizes)
    kernels = _kernels(backend, dtype, features) if kernel is not None and is_static else {}
    forms = {platform: partial(kernel, found) for platform, found in kernels.items()}
    return lax.platform_dependent(*operands, default=parallel, **{"cpu": sequential, **forms})
