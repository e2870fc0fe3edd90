"""The gated recurrence: pre-activations in, states out, the coefficients computed inside.

The coefficients of a minimal cell are pointwise functions of its pre-activations. Computed inside
the recurrence they are never stored: the forward pass reads the pre-activations and writes `h`, and
the backward pass reads those again and recomputes the coefficients.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from rnnlab.dtypes import accumulation_dtype
from rnnlab.errors import explain_forward_mode
from rnnlab.scan.affine import (
    CoefficientFn,
    GatedOperands,
    carry_term,
    flagged_coefficients,
)
from rnnlab.scan.dispatch import BACKENDS
from rnnlab.scan.primitives import gated_states
from rnnlab.scan.sequence_parallel import Cut, cut_gated_scan
from rnnlab.scan.time_shards import from_last, time_axis
from rnnlab.scan.varying import match_varying
from rnnlab.validation import require_flags, require_floating, require_one_of, require_shape


def gated_scan(
    coefficients: CoefficientFn,
    preactivations: Sequence[Float[Array, "*batch time features"]],
    h0: Float[Array, "*batch features"],
    *,
    params: Sequence[Float[Array, " features"]] = (),
    reset_state: Float[Array, "*state features"] | None = None,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
    reverse: bool = False,
    backend: str = "auto",
) -> tuple[Float[Array, "*batch time features"], Float[Array, "*batch features"]]:
    """Solves `h[t] = a[t] * h[t-1] + b[t]` with `a, b = coefficients(*preactivations, *params)`.

    Args:
      coefficients: pointwise, pure and hashable. It receives arrays of one rank in h0's dtype,
        which broadcast against each other, and returns (a, b), each of the shape of any of them.
        One program is compiled per value: pass a module-level function, or a frozen dataclass
        with `__call__`, of which equal ones share a program.
      preactivations: arrays of one shape.
      h0: state before the first step. Its dtype, at least float32, is that of the arithmetic.
      params: learned operands of the coefficients per feature, constant in time.
      reset_state: state that a reset restores, of h0's shape or (features,); None is zeros.
      reset: where True, the state is `reset_state` before that step, selected with `where`.
      mask: where False, the state is kept: `h[t]` is the state before the step.
      reverse, backend: as in `linear_scan`.

    Returns:
      All states, in the dtype of the last pre-activation, and the last of them in h0's dtype; for
      time 0 that is `h0` itself.

    The backward pass keeps the pre-activations and `h`. Gradients of any order, in reverse mode,
    reach `preactivations`, `params`, `h0` and `reset_state`.

    Raises:
      ValueError: as `linear_scan`, or `coefficients` is not hashable.

    Source: arXiv 2410.01201, section 3 (cells whose gates do not read the state).

    >>> import jax, jax.numpy as jnp
    >>> def leaky(x, rate):
    ...     return jax.nn.sigmoid(rate), x
    >>> h, last = gated_scan(leaky, [jnp.ones((3, 1))], jnp.zeros(1), params=[jnp.zeros(1)])
    >>> print(h[:, 0], last)
    [1.   1.5  1.75] [1.75]
    """
    preactivations = tuple(jnp.asarray(x) for x in preactivations)
    if not preactivations:
        raise ValueError("preactivations must hold at least one array, got none; pass one")
    shape = preactivations[-1].shape
    for k, x in enumerate(preactivations):
        require_floating(**{f"preactivations[{k}]": x})
        require_shape(f"preactivations[{k}]", x, shape, "the shape of the last of them")
    if len(shape) < 2:
        raise ValueError(
            f"preactivations must have shape (*batch, time, features), got {shape}; add a time axis"
        )
    require_floating(h0=h0)
    state_shape = (*shape[:-2], shape[-1])
    require_shape("h0", h0, state_shape, "that of the pre-activations without time")
    require_flags(
        shape[:-1], "that of the pre-activations without features", reset=reset, mask=mask
    )
    require_one_of("backend", backend, BACKENDS)
    _require_hashable(coefficients)
    h0 = jnp.asarray(h0, accumulation_dtype(jnp.result_type(h0)))
    axis = time_axis(*preactivations, reset, mask)
    preactivations, params, h0, reset_state, reset, mask = match_varying(
        (preactivations, tuple(params), h0, reset_state, reset, mask)
    )
    constants = _state_operands(params, reset_state, h0)
    if preactivations[-1].size == 0:
        return preactivations[-1], h0
    reset, mask = (None if x is None else jnp.expand_dims(x, -1) for x in (reset, mask))
    params, reset_state = constants
    operands = match_varying(GatedOperands(preactivations, params, h0, reset_state, reset, mask))
    with explain_forward_mode():
        if axis is None:
            return _jitted(coefficients, operands, reverse, backend)
        states = cut_gated_scan(coefficients, operands, Cut(axis, reverse, backend))
    return states.h, from_last(states.last, axis, reverse)


def gated_step(
    coefficients: CoefficientFn,
    preactivations: Sequence[Float[Array, "*batch features"]],
    h: Float[Array, "*batch features"],
    *,
    params: Sequence[Float[Array, " features"]] = (),
    reset_state: Float[Array, "*state features"] | None = None,
    reset: Bool[Array, "*batch"] | None = None,
    mask: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch features"]:
    """Returns the state after one step of `gated_scan` from the state `h`.

    Arguments, dtypes and errors are those of `gated_scan`, without time.

    >>> import jax.numpy as jnp
    >>> print(gated_step(lambda x: (0.5, x), [jnp.ones(1)], jnp.ones(1)))
    [1.5]
    """
    require_floating(h=h)
    h = jnp.asarray(h, accumulation_dtype(jnp.result_type(h)))
    preactivations = tuple(jnp.asarray(x) for x in preactivations)
    for k, x in enumerate(preactivations):
        require_floating(**{f"preactivations[{k}]": x})
        require_shape(f"preactivations[{k}]", x, h.shape, "the shape of h")
    require_flags(h.shape[:-1], "the shape of h without features", reset=reset, mask=mask)
    preactivations, params, h, reset_state, reset, mask = match_varying(
        (preactivations, tuple(params), h, reset_state, reset, mask)
    )
    params, reset_state = _state_operands(params, reset_state, h)
    reset, mask = (None if x is None else jnp.expand_dims(x, -1) for x in (reset, mask))
    a, b = flagged_coefficients(coefficients, preactivations, params, reset_state, reset, mask)
    return b + carry_term(a, h, reset)


def _state_operands(
    params: Sequence[Array], reset_state: Array | None, h: Array
) -> tuple[tuple[Array, ...], Array]:
    """Returns `params` and `reset_state` in the shape and dtype of `h`, after checking them."""
    features = h.shape[-1:]
    for k, x in enumerate(params):
        require_floating(**{f"params[{k}]": x})
        require_shape(f"params[{k}]", x, features, "(features,)")
    reset_state = jnp.zeros(features, h.dtype) if reset_state is None else jnp.asarray(reset_state)
    if reset_state.shape != features:
        require_shape("reset_state", reset_state, h.shape, "that of h0, or (features,)")
    *params, reset_state = (
        jnp.broadcast_to(jnp.asarray(x, h.dtype), h.shape) for x in (*params, reset_state)
    )
    return tuple(params), reset_state


def _require_hashable(coefficients: CoefficientFn) -> None:
    try:
        hash(coefficients)
    except TypeError:
        raise ValueError(
            "coefficients must be hashable, because one program is compiled per value, got "
            f"{coefficients!r}; pass a function or a frozen dataclass with __call__"
        ) from None


_jitted = jax.jit(gated_states, static_argnums=(0, 2, 3))
