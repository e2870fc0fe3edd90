"""Many time steps as one: the affine map from the state before them to the state after them.

Steps `h -> b + carry_term(a, h, reset)` compose to a step of the same form. The composition of a
whole sequence needs one pass that reads the coefficients and stores nothing per time step.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from rnnlab.scan.affine import (
    CoefficientFn,
    GatedOperands,
    carry_term,
    flagged_coefficients,
)
from rnnlab.scan.backends import chunked
from rnnlab.scan.dispatch import dispatch
from rnnlab.scan.time_shards import AnyMap
from rnnlab.scan.varying import match_varying

LANES = 64
"""Spans of time that accelerators compose side by side, where their number divides the length."""


class AffineMap(NamedTuple):
    """The map `h -> b + carry_term(a, h, reset)` of one or more time steps.

    Attributes:
      a, b: (*batch, features).
      reset: whether one of the steps resets the state, (*batch, 1), or None.
    """

    a: Array
    b: Array
    reset: Array | None = None

    def __call__(self, h: Array) -> Array:
        """Returns the state after the steps from the state `h` before them."""
        return self.b + carry_term(self.a, h, self.reset)

    def after(self, earlier: "AffineMap") -> "AffineMap":
        """Returns the map of the earlier steps and then these.

        >>> import jax.numpy as jnp
        >>> halve, add = AffineMap(jnp.full(1, 0.5), jnp.zeros(1)), AffineMap(*jnp.ones((2, 1)))
        >>> print(add.after(halve)(jnp.array([4.0])))
        [3.]
        """
        reset = None if self.reset is None else earlier.reset | self.reset
        return AffineMap(carry_term(self.a, earlier.a, self.reset), self(earlier.b), reset)

    @classmethod
    def identity(cls, state: Array, reset: Array | None) -> "AffineMap":
        """Returns the map of no step, of the shape and dtype of a state; `reset` is False."""
        return cls(jnp.ones_like(state), jnp.zeros_like(state), reset)


def compose_steps(
    a: Array, b: Array, reset: Array | None, h0: Array, *, reverse: bool, backend: str
) -> AffineMap:
    """Returns the map of all steps of a linear scan. Arguments are those of `linear._scan`."""
    return compose_all(AffineMap.identity, _linear_step, (a, b, reset), h0, reverse, backend)


def compose_transposed_steps(
    a: Array, dh: Array, reset: Array | None, dlast: Array, *, reverse: bool, backend: str
) -> AffineMap:
    """Returns the map from the cotangent of the last state to that of the state before all steps.

    Arguments are those of `linear._transposed_scan`. The map's `a` and `reset` are those of
    `compose_steps`.
    """

    def step(constants, a, dh, reset):
        a, dh = a.astype(dlast.dtype), dh.astype(dlast.dtype)
        return AffineMap(a, carry_term(a, dh, reset), reset)

    return compose_all(AffineMap.identity, step, (a, dh, reset), dlast, not reverse, backend)


def compose_gated_steps(
    coefficients: CoefficientFn, operands: GatedOperands, *, reverse: bool, backend: str
) -> AffineMap:
    """Returns the map of all steps of a gated scan, without storing their coefficients."""
    arrays = operands.preactivations, operands.reset, operands.mask

    def step(constants, preactivations, reset, mask):
        a, b = _coefficients(coefficients, constants, preactivations, reset, mask)
        return AffineMap(a, b, reset)

    return compose_all(
        AffineMap.identity, step, arrays, operands.h0, reverse, backend, _constants(operands)
    )


def compose_transposed_gated_steps(
    coefficients: CoefficientFn,
    operands: GatedOperands,
    dh: Array,
    dlast: Array,
    *,
    reverse: bool,
    backend: str,
) -> AffineMap:
    """Returns `compose_transposed_steps` of a gated scan, without storing its coefficients."""
    arrays = operands.preactivations, operands.reset, operands.mask, dh

    def step(constants, preactivations, reset, mask, dh):
        a, _ = _coefficients(coefficients, constants, preactivations, reset, mask)
        return AffineMap(a, carry_term(a, dh.astype(a.dtype), reset), reset)

    return compose_all(
        AffineMap.identity, step, arrays, dlast, not reverse, backend, _constants(operands)
    )


def _linear_step(constants, a, b, reset):
    return AffineMap(a, b, reset)


def _constants(operands):
    return tuple(jnp.expand_dims(x, -2) for x in (*operands.params, operands.reset_state))


def _coefficients(coefficients, constants, preactivations, reset, mask):
    *params, reset_state = constants
    return flagged_coefficients(coefficients, preactivations, params, reset_state, reset, mask)


def compose_all(
    identity: Callable[[Array, Array | None], AnyMap],
    step: Callable[..., AnyMap],
    arrays: Sequence[Any],
    state: Array,
    reverse: bool,
    backend: str,
    constants: Sequence[Array] = (),
) -> AnyMap:
    """Returns the composition of the maps `step(constants, *arrays)` of all time steps.

    Args:
      identity: `identity` of the type of map.
      step: pointwise over time, of any number of time steps.
      arrays: trees of arrays (*batch, time, features), or (*batch, time, 1), or with one time step.
      state: any state, for its shape and dtype.
      reverse: whether the last time step is composed first.
      backend: as in `linear_scan`.
      constants: operands of `step` that are constant in time, (*batch, 1, features).
    """
    operands = constants, arrays, state
    return dispatch(
        backend,
        state.dtype,
        state.shape[-1],
        (operands,),
        sequential=partial(_fold_chunks, identity, step, reverse=reverse),
        parallel=partial(_fold_lanes, identity, step, reverse=reverse),
        kernel=None,
    )


def _fold_chunks(identity, step, operands, *, reverse):
    """Composes one chunk of time steps after the other, and the steps of each one by one."""
    constants, arrays, state = operands

    def chunk(start, steps, carry):
        part = jax.tree.map(lambda x: _slice(x, start, steps), arrays)
        maps = _cast(step(constants, *part), state.dtype)

        def body(i, carry):
            t = steps - 1 - i if reverse else i
            return jax.tree.map(lambda x: _index(x, t), maps).after(carry)

        return lax.fori_loop(0, steps, body, carry)

    carry = _identity(identity, step, operands)
    return chunked.fold_chunks(chunk, _length(arrays), carry, backwards=reverse)


def _fold_lanes(identity, step, operands, *, reverse):
    """Composes equal spans of time side by side, each step by step, and then the spans."""
    constants, arrays, state = operands
    length = _length(arrays)
    lanes = math.gcd(length, LANES)
    steps = length // lanes

    def split(x):
        return x if x.shape[-2] == 1 else x.reshape(*x.shape[:-2], lanes, steps, x.shape[-1])

    spans = jax.tree.map(split, arrays)

    def body(i, carry):
        t = steps - 1 - i if reverse else i
        part = jax.tree.map(lambda x: x if x.ndim == state.ndim + 1 else _index(x, t), spans)
        return _cast(step(constants, *part), state.dtype).after(carry)

    def repeat(x):
        return jnp.broadcast_to(jnp.expand_dims(x, -2), (*x.shape[:-1], lanes, x.shape[-1]))

    maps = lax.fori_loop(0, steps, body, jax.tree.map(repeat, _identity(identity, step, operands)))
    folded = lax.associative_scan(
        lambda earlier, later: later.after(earlier), maps, reverse=reverse, axis=state.ndim - 1
    )
    return jax.tree.map(lambda x: x[..., 0 if reverse else -1, :], folded)


def _identity(identity, step, operands):
    """Returns the map of no step, with a flag where the steps have resets."""
    constants, arrays, state = operands
    found = jax.eval_shape(step, constants, *arrays).reset
    flag = None if found is None else jnp.zeros((*found.shape[:-2], 1), bool)
    return match_varying((operands, identity(state, flag)))[1]


def _cast(maps, dtype):
    return jax.tree.map(lambda x: x if x.dtype == bool else x.astype(dtype), maps)


def _length(arrays):
    return max(x.shape[-2] for x in jax.tree.leaves(arrays))


def _slice(x, start, steps):
    return x if x.shape[-2] == 1 else chunked.slice_time(x, start, steps)


def _index(x, t):
    t = 0 if x.shape[-2] == 1 else t
    return lax.dynamic_index_in_dim(x, t, x.ndim - 2, keepdims=False, allow_negative_indices=False)
