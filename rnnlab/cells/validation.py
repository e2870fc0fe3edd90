"""What every cell does with its arguments before any arithmetic."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from rnnlab.validation import require_flags, require_floating, require_shape


def checked(
    cell: Any, carry: Any, x: Array, reset: Array | None, mask: Array | None, *, time: bool
) -> tuple[Any, Array, Array | None, Array | None]:
    """The arguments of a call as arrays, once they are found to fit `cell`; masked inputs zeroed.

    Zeroing by `where` before any arithmetic is what makes a NaN in padding harmless. The carry gets
    the dtypes of `initial_carry`.
    """
    name, x = ("xs", jnp.asarray(x)) if time else ("x", jnp.asarray(x))
    reset, mask = (None if flag is None else jnp.asarray(flag) for flag in (reset, mask))
    layout = "(*batch, time, in_features)" if time else "(*batch, in_features)"
    require_floating(**{name: x})
    if x.ndim < 1 + time or x.shape[-1] != cell.in_features:
        raise ValueError(
            f"{name} has shape {x.shape}; {layout} with in_features {cell.in_features} is needed"
        )
    require_flags(x.shape[:-1], f"the shape of {name} without features", reset=reset, mask=mask)
    carry = _checked_carry(cell, carry, x.shape[: -2 if time else -1])
    return carry, zero_masked(x, mask), reset, mask


def _checked_carry(cell: Any, carry: Any, batch_shape: Sequence[int]) -> Any:
    wanted = jax.eval_shape(lambda: cell.initial_carry(tuple(batch_shape)))
    source = f"initial_carry({tuple(batch_shape)})"
    if jax.tree.structure(carry) != jax.tree.structure(wanted):
        raise ValueError(
            f"carry is a {type(carry).__name__} built unlike what {source} returns, which is a "
            f"{type(wanted).__name__}: start from that"
        )

    def leaf(path, state, want):
        name = f"carry{jax.tree_util.keystr(path)}"
        state = jnp.asarray(state)
        require_floating(**{name: state})
        require_shape(name, state, want.shape, f"that of {source}")
        return state.astype(want.dtype)

    return jax.tree_util.tree_map_with_path(leaf, carry, wanted)


def affine(x: Array, kernel: Array, bias: Array, dtype: DTypeLike) -> Array:
    """`x @ kernel + bias` in `dtype`, over any leading axes.

    They are made one first: contracting several, XLA transposes the whole cotangent of the result.
    """
    rows = x.astype(dtype).reshape(-1, x.shape[-1]) @ kernel.astype(dtype)
    return (rows + bias.astype(dtype)[None]).reshape(*x.shape[:-1], kernel.shape[-1])


def zero_masked(x: Array, mask: Array | None) -> Array:
    """0 where `mask`, which lacks x's last axis, is False."""
    return x if mask is None else jnp.where(jnp.expand_dims(mask, -1), x, 0)
