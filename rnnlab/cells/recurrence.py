"""The recurrences of linear cells: coefficients computed inside the scan, given, or several."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Inexact

from rnnlab.cells.gap_decay import GapDecayed
from rnnlab.dtypes import accumulation_dtype
from rnnlab.scan import CoefficientFn, gated_scan, gated_step, linear_scan
from rnnlab.scan.affine import carry_term
from rnnlab.scan.time_shards import last_step


class GatedRecurrence(NamedTuple):
    """`h[t] = a[t] h[t-1] + b[t]` with coefficients that are computed inside the scan.

    Attributes:
      coefficients: pointwise and hashable, `(*preactivations, *operands) -> (a, b)`.
      preactivations: arrays of one shape, (*batch, time, features), or without time for one step.
      operands: learned arrays (features,), constant in time.
    """

    coefficients: CoefficientFn
    preactivations: Sequence[Float[Array, "*batch features"]]
    operands: Sequence[Float[Array, " features"]] = ()

    def scan(
        self,
        state: Array,
        reset_state: Array,
        reset: Array | None,
        mask: Array | None,
        backend: str,
        reverse: bool = False,
    ) -> tuple[Array, Array]:
        """Returns the last state, and all states in the dtype of the last pre-activation."""
        h, last = gated_scan(
            self.coefficients,
            self.preactivations,
            state,
            params=self.operands,
            reset_state=reset_state,
            reset=reset,
            mask=mask,
            reverse=reverse,
            backend=backend,
        )
        return last, h

    def step(
        self, state: Array, reset_state: Array, reset: Array | None, mask: Array | None
    ) -> tuple[Array, Array]:
        """Returns the state after one time step, twice."""
        state = gated_step(
            self.coefficients,
            self.preactivations,
            state,
            params=self.operands,
            reset_state=reset_state,
            reset=reset,
            mask=mask,
        )
        return state, state

    def with_gap_decay(self, exponent: Float[Array, "*batch features"]) -> "GatedRecurrence":
        """Returns the recurrence with `exp(-exponent)` as a further factor of `a`."""
        return GatedRecurrence(
            GapDecayed(self.coefficients), (exponent, *self.preactivations), self.operands
        )

    def decay(self) -> Array:
        """Returns `a` at every time step, in float32 or wider."""
        dtype = accumulation_dtype(*(x.dtype for x in self.preactivations))
        shape = self.preactivations[-1].shape
        operands = (jnp.broadcast_to(x.astype(dtype), shape) for x in self.operands)
        a, _ = self.coefficients(*(x.astype(dtype) for x in self.preactivations), *operands)
        return a


class LinearRecurrence(NamedTuple):
    """`h[t] = a[t] h[t-1] + b[t]` with given coefficients, real or complex.

    Attributes:
      a: (*batch, time, features) or, constant in time, (features,). Only a mask copies the latter
        to all time steps.
      b: (*batch, time, features). Without time for one step.
    """

    a: Inexact[Array, "*shape"]
    b: Inexact[Array, "*batch features"]

    def scan(
        self,
        state: Array,
        reset_state: Array,
        reset: Array | None,
        mask: Array | None,
        backend: str,
    ) -> tuple[Array, Array]:
        """Returns the last state and all states, in the state's dtype."""
        a, b = self._flagged(state.dtype, reset_state, reset, mask)
        h = linear_scan(a, b, state, reset=reset, backend=backend)
        return (last_step(h) if h.size else state), h

    def step(
        self, state: Array, reset_state: Array, reset: Array | None, mask: Array | None
    ) -> tuple[Array, Array]:
        """Returns the state after one time step, twice."""
        a, b = self._flagged(state.dtype, reset_state, reset, mask)
        reset = None if reset is None else jnp.expand_dims(reset, -1)
        state = b + carry_term(jnp.broadcast_to(a, b.shape), state, reset)
        return state, state

    def decay(self) -> Array:
        """Returns `a`."""
        return self.a

    def _flagged(self, dtype, reset_state, reset, mask):
        """Returns the coefficients with both flags applied, in the dtype of the states."""
        a, b = self.a, self.b.astype(dtype)
        if mask is not None:
            mask = jnp.expand_dims(mask, -1)
            a, b = jnp.where(mask, jnp.broadcast_to(a, b.shape), 1), jnp.where(mask, b, 0)
        if reset is not None:
            restored = jnp.broadcast_to(a, b.shape) * jnp.broadcast_to(reset_state, b.shape)
            b = jnp.where(jnp.expand_dims(reset, -1), b + restored, b)
        return a, b


class JointRecurrence(NamedTuple):
    """Several recurrences next to each other; their states and results are tuples."""

    parts: tuple[Any, ...]

    def scan(self, state: Any, reset_state: Any, *flags_and_backend: Any) -> tuple[Any, Any]:
        """Returns the tuples of the parts' last states and of their states."""
        pairs = zip(self.parts, state, reset_state, strict=True)
        found = [part.scan(h, h0, *flags_and_backend) for part, h, h0 in pairs]
        return tuple(last for last, _ in found), tuple(h for _, h in found)

    def step(self, state: Any, reset_state: Any, *flags: Any) -> tuple[Any, Any]:
        """Returns the tuples of the parts' states after one time step, twice."""
        pairs = zip(self.parts, state, reset_state, strict=True)
        found = [part.step(h, h0, *flags) for part, h, h0 in pairs]
        return tuple(last for last, _ in found), tuple(h for _, h in found)

    def decay(self) -> None:
        """Returns None: the parts' decays differ."""
        return None
