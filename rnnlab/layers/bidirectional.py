"""Two cells over one sequence, one from each end."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Key

from rnnlab.cells.validation import checked
from rnnlab.layers.dropout import key_option
from rnnlab.validation import require_one_of

MERGES = ("concat", "sum")


class Bidirectional(nnx.Module):
    """Runs `forward` from the first step and `backward` from the last, and merges their outputs.

    Each row is read backwards within its own length, so that `mask` must be right padding; padding
    is never read, and a `reset` there is not either by the backward cell. A reset separates two
    segments in both directions: before input t for the forward cell, and, shifted by one, before
    input t - 1 for the backward cell, so that packed rows equal separate ones.

    Args:
      forward, backward: cells of the same `in_features` (for `"sum"` also the same `features`).
      merge: `"concat"` puts their outputs side by side, `"sum"` adds them.

    The carry is the pair of the cells' carries: `forward`'s enters at the first step, `backward`'s
    at the last. There is no `step`: half of the output depends on the future.

    Raises:
      ValueError: the cells do not fit together, an option is unknown, `step` is called, or a call's
        shapes or dtypes do not fit.

    Source: Schuster and Paliwal, "Bidirectional Recurrent Neural Networks" (1997).

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab.cells import MinGRU
    >>> rngs = nnx.Rngs(0)
    >>> both = Bidirectional(MinGRU(3, 8, rngs=rngs), MinGRU(3, 8, rngs=rngs))
    >>> carry, ys = both(both.initial_carry((2,)), jnp.ones((2, 5, 3)))
    >>> ys.shape
    (2, 5, 16)
    """

    def __init__(self, forward: nnx.Module, backward: nnx.Module, *, merge: str = "concat"):
        require_one_of("merge", merge, MERGES)
        if forward.in_features != backward.in_features:
            raise ValueError(
                f"backward has in_features {backward.in_features}; forward's "
                f"{forward.in_features} is needed: both read the same input"
            )
        if merge == "sum" and forward.features != backward.features:
            raise ValueError(
                f"backward has features {backward.features}; forward's {forward.features} is "
                "needed: merge 'sum' adds their outputs"
            )
        self.forward = forward
        self.backward = backward
        self.merge = merge
        self.in_features = forward.in_features
        self.features = forward.features
        self.dtype = forward.dtype
        if merge == "concat":
            self.features += backward.features

    def initial_carry(self, batch_shape: Sequence[int]) -> tuple[Any, Any]:
        """The pair of the cells' initial carries."""
        return self.forward.initial_carry(batch_shape), self.backward.initial_carry(batch_shape)

    def __call__(
        self,
        carry: tuple[Any, Any],
        xs: Float[Array, "*batch time in_features"],
        *,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[tuple[Any, Any], Float[Array, "*batch time features"]]:
        """Both carries and the merged outputs, 0 where masked. `key` None: no dropout."""
        (ahead, behind), xs, reset, mask = checked(self, carry, xs, reset, mask, time=True)
        ahead_key, behind_key = (None, None) if key is None else jax.random.split(key)
        ahead, ys = self.forward(
            ahead, xs, reset=reset, mask=mask, **key_option(self.forward, ahead_key)
        )
        behind, back = self.backward(
            behind,
            _reversed_rows(xs, mask),
            reset=None if reset is None else _reversed_resets(reset, mask),
            mask=mask,
            **key_option(self.backward, behind_key),
        )
        back = _reversed_rows(back, mask)
        merged = jnp.concatenate([ys, back], -1) if self.merge == "concat" else ys + back
        return (ahead, behind), merged

    def step(self, carry: Any, x: Array, *, reset: Array | None = None, mask: Array | None = None):
        """Raises ValueError."""
        raise ValueError(
            "Bidirectional has no step: its backward cell reads the future; "
            "call it on whole sequences, or stream a forward cell alone"
        )


def _reversed_rows(x: Array, mask: Array | None) -> Array:
    """Each row of (*batch, time, features) reversed within its own length; padding stays behind."""
    if mask is None:
        return jnp.flip(x, -2)
    length = jnp.sum(mask, -1, keepdims=True)
    t = jnp.arange(x.shape[-2]).reshape((1,) * (mask.ndim - 1) + (-1,))
    source = jnp.where(t < length, length - 1 - t, t)
    return jnp.take_along_axis(x, jnp.expand_dims(source, -1), axis=-2)


def _reversed_resets(reset: Array, mask: Array | None) -> Array:
    """Resets for the reversed rows: a segment's last input comes first, so the flag moves to it."""
    real = reset if mask is None else reset & mask
    before_next = jnp.concatenate([real[..., 1:], jnp.zeros_like(real[..., :1])], -1)
    return _reversed_rows(jnp.expand_dims(before_next, -1), mask)[..., 0]
