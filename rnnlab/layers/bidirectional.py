"""Runs two cells over a sequence, one from each end."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from rnnlab.call_arguments import BatchShape, require_layer
from rnnlab.call_validation import gap_option, uses_gaps
from rnnlab.layers.dropout import key_option
from rnnlab.recurrent import Recurrent, module_dtype
from rnnlab.scan.time_shards import from_before, time_axis
from rnnlab.validation import require_one_of

MERGES = ("concat", "sum")


class Bidirectional(Recurrent):
    """Runs `forward` from the first step and `backward` from the last, and merges their outputs.

    The backward cell reads each sequence reversed within its own length, so `mask` must be right
    padding. It reads neither inputs nor resets in padding. A reset at input t separates two
    segments in both directions: the backward cell is reset before input t - 1. Packed sequences
    therefore equal separate ones.

    The carry is the pair of the cells' carries. `forward` starts from the first at the first step,
    `backward` from the second at the last step. `step` raises, because half of the output depends
    on the future.

    Args:
      forward, backward: cells of the same `in_features` (for `"sum"` also the same `features`).
      merge: `"concat"` concatenates their outputs along features, `"sum"` adds them.

    Raises:
      ValueError: the cells do not fit together, `merge` is unknown, `step` is called, or the shapes
        or dtypes of a call do not fit.

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
        require_layer("forward", forward)
        require_layer("backward", backward)
        if forward.in_features != backward.in_features:
            raise ValueError(
                f"backward must have the in_features of forward, {forward.in_features}, "
                f"got {backward.in_features}"
            )
        if merge == "sum" and forward.features != backward.features:
            raise ValueError(
                f"backward must have the features of forward, {forward.features}, with merge "
                f"'sum', got {backward.features}"
            )
        self.forward = forward
        self.backward = backward
        self.merge = merge
        self.in_features = forward.in_features
        self.features = forward.features
        self.dtype = module_dtype(forward)
        if merge == "concat":
            self.features += backward.features

    def initial_carry(self, batch_shape: BatchShape = ()) -> tuple[Any, Any]:
        """Returns the pair of the cells' initial carries."""
        return self.forward.initial_carry(batch_shape), self.backward.initial_carry(batch_shape)

    @property
    def uses_gaps(self) -> bool:
        """Whether a cell needs the time since the previous input."""
        return uses_gaps(self.forward) or uses_gaps(self.backward)

    def run_sequence(self, carry, xs, reset, mask, key, gaps=None):
        forward_carry, backward_carry = carry
        forward_key, backward_key = (None, None) if key is None else jax.random.split(key)
        forward_options = key_option(self.forward, forward_key) | gap_option(self.forward, gaps)
        forward_carry, ys = self.forward(
            forward_carry, xs, reset=reset, mask=mask, **forward_options
        )
        options = key_option(self.backward, backward_key) | gap_option(self.backward, gaps)
        backward_carry, backward_ys = run_reversed(
            self.backward, backward_carry, xs, reset, mask, **options
        )
        is_concat = self.merge == "concat"
        merged = jnp.concatenate([ys, backward_ys], -1) if is_concat else ys + backward_ys
        return (forward_carry, backward_carry), merged

    def run_step(self, carry, x, reset, mask, key, gaps=None):
        raise ValueError(
            "Bidirectional has no step: its backward cell reads the future; call it on whole "
            "sequences, or stream only a forward cell"
        )


def run_reversed(
    cell: nnx.Module,
    carry: Any,
    xs: Array,
    reset: Array | None,
    mask: Array | None,
    **options: Any,
) -> tuple[Any, Array]:
    """Returns the results of a cell that reads each sequence from its last real step to its first.

    A cell that has a recurrence against time runs it; others read reversed copies.

    Raises:
      ValueError: the time axis is cut over devices and the cell can be reversed only as a whole.
    """
    if getattr(cell, "can_run_reversed", False):
        gaps = options.get("gaps")
        flags = None if reset is None else _of_next(reset if mask is None else reset & mask)
        if gaps is not None:
            gaps = _of_next(gaps if reset is None else jnp.where(reset, 0, gaps))
        return cell.run_reversed(carry, xs, flags, mask, **gap_option(cell, gaps))
    if time_axis(xs, reset, mask) is None:
        return _run_on_reversed_copies(cell, carry, xs, reset, mask, **options)
    if not isinstance(cell, Recurrent) or type(cell).run_sequence is not Recurrent.run_sequence:
        raise ValueError(
            "backward must be a minimal or a classic cell where the time axis is cut over devices, "
            f"got {type(cell).__name__}, which reads it whole; cut only the batch"
        )
    key = options.pop("key", None)
    return cell.run_loops(_reversed_loop, carry, xs, reset, mask, key, in_turns=False, **options)


def _run_on_reversed_copies(run, carry, xs, reset, mask, *, gaps=None, **options):
    if gaps is not None:
        options["gaps"] = reverse_gaps(gaps, reset, mask)
    flags = None if reset is None else reverse_resets(reset, mask)
    carry, ys = run(carry, reverse_time(xs, mask), reset=flags, mask=mask, **options)
    return carry, reverse_time(ys, mask)


def _reversed_loop(cell, carry, xs, reset, mask, key, **options):
    return _run_on_reversed_copies(
        partial(cell.run_loop, key=key), carry, xs, reset, mask, **options
    )


def _of_next(x: Array) -> Array:
    """Returns what belongs to the next time step, 0 or False at the last."""
    axis, first = time_axis(x), x[..., :1]
    end = jnp.zeros_like(first) if axis is None else from_before(first, axis, reverse=True)
    return jnp.concatenate([x[..., 1:], end], -1)


def reverse_time(x: Array, mask: Array | None) -> Array:
    """Reverses each sequence of (*batch, time, features) within its length; padding stays last."""
    if mask is None:
        return jnp.flip(x, -2)
    length = jnp.sum(mask, -1, keepdims=True)
    t = jnp.arange(x.shape[-2]).reshape((1,) * (mask.ndim - 1) + (-1,))
    source = jnp.where(t < length, length - 1 - t, t)
    return jnp.take_along_axis(x, jnp.expand_dims(source, -1), axis=-2)


def reverse_resets(reset: Array, mask: Array | None) -> Array:
    """Resets of the reversed sequences: the flag moves to a segment's last input, now its first."""
    return _reverse_shifted(reset if mask is None else reset & mask, mask)


def reverse_gaps(gaps: Array, reset: Array | None, mask: Array | None) -> Array:
    """Gaps of the reversed sequences: the time since an input's predecessor, now its successor."""
    return _reverse_shifted(gaps if reset is None else jnp.where(reset, 0, gaps), mask)


def _reverse_shifted(x: Array, mask: Array | None) -> Array:
    """Reverses what belongs to an input and the one before it: it moves to the latter."""
    before_next = jnp.concatenate([x[..., 1:], jnp.zeros_like(x[..., :1])], -1)
    return reverse_time(jnp.expand_dims(before_next, -1), mask)[..., 0]
