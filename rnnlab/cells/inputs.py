"""What every cell does with its arguments before any arithmetic."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.scan.checks import check_flags, check_floating, check_shape


def checked(
    cell: Any, carry: Any, x: Array, reset: Array | None, mask: Array | None, *, time: bool
) -> Array:
    """`x` with masked inputs zeroed, once it, the carry and the flags are found to fit `cell`.

    Zeroing by `where` before any arithmetic is what makes a NaN in padding harmless.
    """
    name, x = ("xs", jnp.asarray(x)) if time else ("x", jnp.asarray(x))
    layout = "(*batch, time, in_features)" if time else "(*batch, in_features)"
    check_floating(**{name: x})
    if x.ndim < 1 + time or x.shape[-1] != cell.in_features:
        raise ValueError(
            f"{name} has shape {x.shape}; {layout} with in_features {cell.in_features} is needed"
        )
    check_flags(x.shape[:-1], f"the shape of {name} without features", reset=reset, mask=mask)
    check_carry(cell, carry, x.shape[: -2 if time else -1])
    return zero_masked(x, mask)


def check_carry(cell: Any, carry: Any, batch_shape: Sequence[int]) -> None:
    wanted = jax.eval_shape(lambda: cell.initial_carry(tuple(batch_shape)))
    if jax.tree.structure(carry) != jax.tree.structure(wanted):
        raise ValueError(
            f"carry is {jax.tree.structure(carry)}; {jax.tree.structure(wanted)} is needed: "
            "start from initial_carry(batch_shape)"
        )
    for (path, leaf), want in zip(
        jax.tree_util.tree_leaves_with_path(carry), jax.tree.leaves(wanted), strict=True
    ):
        name = f"carry{jax.tree_util.keystr(path)}"
        check_shape(name, leaf, want.shape, f"that of initial_carry({tuple(batch_shape)})")


def zero_masked(x: Array, mask: Array | None) -> Array:
    """0 where `mask`, which lacks x's last axis, is False."""
    return x if mask is None else jnp.where(jnp.expand_dims(mask, -1), x, 0)
