"""The gated recurrence in two parts: the coefficients of all steps, then the linear scan.

`scan` and `transposed_scan` are that second part: the functions of a backend, or the differentiable
pair of `rnnlab.scan.linear`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.scan.affine import CoefficientFn, GatedOperands, carry_term, flagged_coefficients


def shift_states(h: Array, h0: Array, reverse: bool) -> Array:
    """Returns the state before each step, in h0's dtype: `h` shifted by one step, `h0` first."""
    first, h = jnp.expand_dims(h0, -2), h.astype(h0.dtype)
    parts = (h[..., 1:, :], first) if reverse else (first, h[..., :-1, :])
    return jnp.concatenate(parts, axis=-2)


def gated_scan(
    scan: Callable[..., tuple[Array, Array]],
    coefficients: CoefficientFn,
    operands: GatedOperands,
    *,
    reverse: bool,
) -> tuple[Array, Array]:
    """Returns all states in the dtype of the last pre-activation and the last state in h0's."""
    a, b = _all_coefficients(coefficients, operands)
    h, last = scan(a, b, operands.h0, operands.reset, reverse=reverse)
    return h.astype(operands.preactivations[-1].dtype), last


def gated_vjp(
    transposed_scan: Callable[..., tuple[Array, Array]],
    coefficients: CoefficientFn,
    operands: GatedOperands,
    h: Array,
    dh: Array,
    dlast: Array,
    *,
    reverse: bool,
) -> GatedOperands:
    """Returns the cotangents of the operands of `gated_scan`. Recomputes the coefficients."""

    def of(preactivations, params, reset_state):
        return _all_coefficients(
            coefficients,
            operands._replace(
                preactivations=preactivations, params=params, reset_state=reset_state
            ),
        )

    (a, _), vjp = jax.vjp(of, tuple(operands.preactivations), operands.params, operands.reset_state)
    h0, reset = operands.h0, operands.reset
    g, dh0 = transposed_scan(a, dh.astype(a.dtype), dlast, reset, reverse=reverse)
    da = carry_term(g, shift_states(h, h0, reverse), reset)
    dpreactivations, dparams, dreset_state = vjp((da, g))
    return GatedOperands(dpreactivations, dparams, dh0, dreset_state)


def _all_coefficients(coefficients: CoefficientFn, operands: GatedOperands) -> tuple[Array, Array]:
    """Returns (a, b) of every step."""
    return flagged_coefficients(
        coefficients,
        operands.preactivations,
        [jnp.expand_dims(p, -2) for p in operands.params],
        jnp.expand_dims(operands.reset_state, -2),
        operands.reset,
        operands.mask,
    )
