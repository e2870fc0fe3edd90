"""Rejects a call whose carry and inputs are the carry and the outputs of the call before it.

`flax.nnx.Sequential(cell, cell)` makes such a call: it passes a tuple to the next layer as several
arguments. The second cell would start from the last state of the first, and where the shapes agree
its outputs would be wrong without an error. The arguments have valid shapes and values, so arrays
are recognized by their identity. Weak references keep no array or tracer alive.
"""

import threading
import weakref
from typing import Any

import jax


class _LatestCall(threading.local):
    """The module that was called last in a thread, and the arrays that it returned."""

    module = ""
    results: tuple[weakref.ref, ...] = ()


_latest = _LatestCall()


def remember_results(module: Any, carry: Any, ys: Any) -> None:
    """Stores what a call of `module` returns, for `reject_results_of_one_call`."""
    leaves = jax.tree.leaves((carry, ys))
    _latest.module = type(module).__name__
    are_arrays = all(isinstance(leaf, jax.Array) for leaf in leaves)
    _latest.results = tuple(map(weakref.ref, leaves)) if are_arrays else ()


def reject_results_of_one_call(carry: Any, xs: Any) -> None:
    """Raises if `carry` and `xs` are the very arrays that the call before returned.

    A layer without a state has no wrong carry, and outputs of one time step may be the next inputs.

    Raises:
      ValueError: names the module that returned both.
    """
    leaves = jax.tree.leaves((carry, xs))
    # Not `> 1`, which has no answer for the symbolic length of an exported program.
    is_sequence = getattr(xs, "ndim", 0) >= 2 and xs.shape[-2] not in (0, 1)
    if not is_sequence or len(leaves) < 2 or len(leaves) != len(_latest.results):
        return
    if all(result() is leaf for result, leaf in zip(_latest.results, leaves, strict=True)):
        raise ValueError(
            "carry must be that of the called module, got the carry and the outputs of one call of "
            f"{_latest.module}, as nnx.Sequential passes them; wrap each cell in "
            "rnnlab.OutputOnly, or use rnnlab.Stack"
        )
