"""Validation of calls of recurrent modules: inputs, flags, gaps and carries that fit a module."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.validation import (
    require_flags,
    require_floating,
    require_not_negative,
    require_shape,
)


def validate_call(
    module: Any,
    carry: Any,
    x: Array,
    reset: Array | None,
    mask: Array | None,
    *,
    time: bool,
) -> tuple[Any, Array, Array | None, Array | None]:
    """Returns the arguments of a call as arrays that fit `module`, with masked inputs set to 0.

    Masked inputs are replaced with `where` before any arithmetic, so that NaN in padding is
    harmless. The carry gets the dtypes of `initial_carry`; None becomes `initial_carry`.

    Raises:
      ValueError: an argument's shape, dtype or structure does not fit.
    """
    name, x = ("xs", jnp.asarray(x)) if time else ("x", jnp.asarray(x))
    reset, mask = (None if flag is None else jnp.asarray(flag) for flag in (reset, mask))
    layout = "(*batch, time, in_features)" if time else "(*batch, in_features)"
    require_floating(**{name: x})
    if x.ndim < 1 + time or x.shape[-1] != module.in_features:
        raise ValueError(
            f"{name} must have shape {layout} with in_features {module.in_features}, got {x.shape}"
        )
    require_flags(x.shape[:-1], f"the shape of {name} without features", reset=reset, mask=mask)
    carry = validate_carry(module, carry, x.shape[: -2 if time else -1])
    return carry, mask_outputs(x, mask), reset, mask


def validate_gaps(
    module: Any,
    gaps: Array | None,
    shape: Sequence[Any],
    mask: Array | None,
) -> dict[str, Array]:
    """Returns the keyword arguments that `gaps` of a call adds to a hook of `module`.

    Gaps are 0 in padding.

    Raises:
      ValueError: the module needs gaps and has none, has gaps and does not use them, or their shape
        or dtype does not fit.
    """
    if not uses_gaps(module):
        if gaps is None:
            return {}
        raise ValueError(
            f"gaps must be None for {type(module).__name__}, which does not use the time between "
            "inputs; make its cells with gap_decay=True, or omit gaps"
        )
    if gaps is None:
        raise ValueError(
            f"gaps must be given to {type(module).__name__}, whose state decays with time, "
            "got None; pass gaps="
        )
    gaps = jnp.asarray(gaps)
    require_floating(gaps=gaps)
    require_shape("gaps", gaps, tuple(shape), "that of the inputs without features")
    require_not_negative("gaps", gaps, mask)
    return {"gaps": gaps if mask is None else jnp.where(mask, gaps, 0)}


def uses_gaps(module: Any) -> bool:
    """Returns whether calls of a module of the contract need `gaps`."""
    return getattr(module, "uses_gaps", False)


def gap_option(module: Any, gaps: Array | None) -> dict[str, Array | None]:
    """Returns `{"gaps": gaps}` for a module that uses them, else no argument."""
    return {"gaps": gaps} if uses_gaps(module) else {}


def require_one_sequence(module: Any, action: str) -> None:
    """Raises ValueError for a model that reads a source or labels besides its inputs.

    Args:
      module: a cell, layer, stack or model.
      action: what is done with it, for the message: "be exported".
    """
    for name, what in (("source", "a source"), ("labels", "labels")):
        if getattr(module, f"uses_{name}", False):
            raise ValueError(
                f"a model must read one sequence to {action}, got {type(module).__name__}, which "
                f"also reads {what}; keep the run or the bundle, and call decode in Python"
            )


def validate_carry(module: Any, carry: Any, batch_shape: Sequence[Any]) -> Any:
    """Returns a carry that fits `module`, in the dtypes of `initial_carry`; None becomes that.

    Raises:
      ValueError: the structure, a shape or a dtype does not fit.
    """
    if carry is None:
        return module.initial_carry(batch_shape)
    expected = jax.eval_shape(lambda: module.initial_carry(tuple(batch_shape)))
    source = f"initial_carry({tuple(batch_shape)})"
    if jax.tree.structure(carry) != jax.tree.structure(expected):
        raise ValueError(
            f"carry must have the structure of {source}, a {type(expected).__name__}, got a "
            f"{type(carry).__name__}; start from initial_carry"
        )

    def cast(path, leaf, like):
        name = f"carry{jax.tree_util.keystr(path)}"
        leaf = jnp.asarray(leaf)
        if not jnp.issubdtype(like.dtype, jnp.complexfloating):
            require_floating(**{name: leaf})
        require_shape(name, leaf, like.shape, f"that of {source}")
        return leaf.astype(like.dtype)

    return jax.tree_util.tree_map_with_path(cast, carry, expected)


def mask_outputs(x: Array, mask: Array | None) -> Array:
    """Returns x with 0 where `mask`, which lacks x's last axis, is False.

    >>> print(mask_outputs(jnp.ones((2, 1)), jnp.array([True, False]))[:, 0])
    [1. 0.]
    """
    return x if mask is None else jnp.where(jnp.expand_dims(mask, -1), x, 0)
