"""Arguments that all modules of the contract accept: shapes of batches, inputs, keys and layers."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from flax import nnx
from jax import Array, export
from jaxtyping import Key

from rnnlab.chained_calls import reject_results_of_one_call
from rnnlab.validation import require_key

BatchShape = int | Sequence[Any]
"""Shape of the batch axes; an int is the size of a single one. Sizes are ints, or symbolic in a
program that `jax.export` traces."""
RandomSource = nnx.Rngs | nnx.RngStream | Key[Array, ""]
"""Where dropout gets a key from, as in Flax: `rngs.dropout`, a stream, or a key."""


def accept_batch_size(initial_carry: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `initial_carry` as a method that also accepts an int and passes on a tuple."""

    @functools.wraps(initial_carry)
    def wrapped(self: Any, batch_shape: BatchShape = ()) -> Any:
        try:
            sizes = (_axis_size(batch_shape),)
        except TypeError:
            try:
                sizes = tuple(_axis_size(size) for size in batch_shape)
            except TypeError:
                raise ValueError(
                    f"batch_shape must be an int or a tuple of ints, got {batch_shape!r}; pass the "
                    "shape of xs without time and features"
                ) from None
        return initial_carry(self, sizes)

    return wrapped


def _axis_size(size: Any) -> Any:
    """Returns an int, or the symbolic size of an axis that `jax.export` leaves open."""
    return size if export.is_symbolic_dim(size) else operator.index(size)


def split_arguments(carry: Any, xs: Array | None) -> tuple[Any, Array]:
    """Returns the carry, or None, and the inputs of `module(carry, xs)` or `module(xs)`.

    Raises:
      ValueError: there are no inputs, or both arguments are results of one call of another module.
    """
    if xs is None:
        xs, carry = carry, None
    if xs is None:
        raise ValueError("xs must be given, got None; call cell(xs) or cell(carry, xs)")
    reject_results_of_one_call(carry, xs)
    return carry, xs


def call_key(key: Array | None, rngs: RandomSource | None) -> Array | None:
    """Returns the key of a call's dropout from its arguments `key` and `rngs`, or None.

    Raises:
      ValueError: both are given, or one is neither a key nor a source of keys.
    """
    if rngs is not None:
        if key is not None:
            raise ValueError("only one of key and rngs may be given, got both; remove one")
        if isinstance(rngs, nnx.Rngs):
            return rngs.dropout()
        if isinstance(rngs, nnx.RngStream):
            return rngs()
        key = rngs
    if key is not None:
        require_key("key", key)
    return key


def require_layer(name: str, module: Any) -> None:
    """Raises ValueError unless `module` has the attributes of the contract."""
    missing = [
        attribute
        for attribute in ("in_features", "features", "initial_carry")
        if not hasattr(module, attribute)
    ]
    if missing:
        found = (
            f"the class {module.__name__}" if isinstance(module, type) else type(module).__name__
        )
        action = "pass a cell, block or stack"
        if isinstance(module, nnx.RNNCellBase):
            action = "wrap it: rnnlab.NNXCell(cell)"
        raise ValueError(f"{name} must have {', '.join(missing)}, got {found}; {action}")
