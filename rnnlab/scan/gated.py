"""The recurrence with its gates inside: pre-activations in, states out.

A minimal cell's coefficients are pointwise functions of its pre-activations. Computed inside the
recurrence they are never stored: the forward pass reads the pre-activations and writes `h`, and the
backward pass reads those again and recomputes the gates.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from rnnlab.scan.affine import Gates, accumulation_dtype
from rnnlab.scan.backends import associative, chunked, unfused
from rnnlab.scan.linear import BACKENDS, on_backend, transpose
from rnnlab.scan.pallas import ops
from rnnlab.validation import require_flags, require_floating, require_one_of, require_shape


def gated_scan(
    gates: Gates,
    pre: Sequence[Float[Array, "*batch time features"]],
    h0: Float[Array, "*batch features"],
    *,
    init: Float[Array, "*state features"] | None = None,
    reset: Bool[Array, "*batch time"] | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
    reverse: bool = False,
    backend: str = "auto",
) -> tuple[Float[Array, "*batch time features"], Float[Array, "*batch features"]]:
    """Solves `h[t] = a[t] * h[t-1] + b[t]` with `a, b = gates(*pre)`, gates and states in one pass.

    Args:
      gates: pointwise and pure; takes as many arrays as `pre` has, in h0's dtype, and returns
        (a, b). One program is compiled for each gates object: pass a module-level function, or a
        `functools.partial` that is kept.
      pre: pre-activations, all of one shape.
      h0: state before the first step. Its dtype, at least float32, is that of the arithmetic.
      init: state that a reset puts back, of h0's shape or (features,); None is zeros.
      reset: where True, the state is `init` before that step, by `where`.
      mask: where False, the state is held: `h[t]` is the state before the step.
      reverse, backend: as in `linear_scan`.

    Returns:
      All states, in the dtype of the last pre-activation, and the last of them in h0's dtype; for
      time 0 that is `h0` itself.

    The backward pass keeps the pre-activations and `h`. Gradients reach `pre`, `h0` and `init`,
    in reverse mode and of any order.

    Raises:
      ValueError: as `linear_scan`.

    Source: arXiv 2410.01201, section 3 (cells whose gates do not read the state).

    >>> import jax, jax.numpy as jnp
    >>> def leaky(x):
    ...     return jax.nn.sigmoid(x), jnp.ones_like(x)
    >>> h, last = gated_scan(leaky, [jnp.zeros((3, 1))], jnp.zeros(1))
    >>> print(h[:, 0], last)
    [1.   1.5  1.75] [1.75]
    """
    pre = tuple(jnp.asarray(x) for x in pre)
    if not pre:
        raise ValueError("pre is empty; at least one array of pre-activations is needed")
    shape = pre[-1].shape
    for k, x in enumerate(pre):
        require_floating(**{f"pre[{k}]": x})
        require_shape(f"pre[{k}]", x, shape, "the shape of the last pre-activation")
    if len(shape) < 2:
        raise ValueError(f"pre has shape {shape}; (*batch, time, features) is needed")
    require_floating(h0=h0)
    state_shape = (*shape[:-2], shape[-1])
    require_shape("h0", h0, state_shape, "the shape of pre without its time")
    require_flags(shape[:-1], "the shape of pre without its features", reset=reset, mask=mask)
    require_one_of("backend", backend, BACKENDS)
    h0 = jnp.asarray(h0, accumulation_dtype(jnp.result_type(h0)))
    init = jnp.zeros(shape[-1:]) if init is None else jnp.asarray(init)
    if init.shape != shape[-1:]:
        require_shape("init", init, state_shape, "the shape of h0, or its last axis alone")
    init = jnp.broadcast_to(init.astype(h0.dtype), state_shape)
    if pre[-1].size == 0:
        return pre[-1], h0
    reset = None if reset is None else jnp.expand_dims(reset, -1)
    mask = None if mask is None else jnp.expand_dims(mask, -1)
    return _jitted(gates, pre, h0, init, reset, mask, reverse, backend)


@partial(jax.custom_vjp, nondiff_argnums=(0, 6, 7))
def _gated(gates, pre, h0, init, reset, mask, reverse, backend):
    return on_backend(
        backend,
        h0.dtype,
        (pre, h0, init, reset, mask),
        loop=partial(chunked.gated, gates, reverse=reverse),
        at_once=partial(unfused.gated, associative.linear, gates, reverse=reverse),
        kernel=lambda kernel, *xs: ops.gated(kernel, gates, *xs, reverse=reverse),
    )


_jitted = jax.jit(_gated, static_argnums=(0, 6, 7))


def _gated_forward(gates, pre, h0, init, reset, mask, reverse, backend):
    h, last = _gated(gates, pre, h0, init, reset, mask, reverse, backend)
    return (h, last), (pre, h0, init, reset, mask, h)


def _gated_backward(gates, reverse, backend, residuals, cotangents):
    dpre, dh0, dinit = _gated_transpose(gates, *residuals, *cotangents, reverse, backend)
    return dpre, dh0, dinit, None, None


@partial(jax.custom_vjp, nondiff_argnums=(0, 9, 10))
def _gated_transpose(gates, pre, h0, init, reset, mask, h, dh, dlast, reverse, backend):
    return on_backend(
        backend,
        h0.dtype,
        (pre, h0, init, reset, mask, h, dh, dlast),
        loop=partial(chunked.gated_transpose, gates, reverse=reverse),
        at_once=partial(unfused.gated_transpose, associative.transpose, gates, reverse=reverse),
        kernel=lambda kernel, *xs: ops.gated_transpose(kernel, gates, *xs, reverse=reverse),
    )


def _gated_transpose_forward(gates, *operands_and_options):
    *operands, reverse, backend = operands_and_options
    return _gated_transpose(gates, *operands, reverse, backend), tuple(operands)


def _gated_transpose_backward(gates, reverse, backend, operands, cotangents):
    # Blocks and kernels have no derivative; the composition of the differentiable transpose has.
    pre, h0, init, reset, mask, *rest = operands
    differentiable = partial(transpose, backend=backend)

    def at_once(pre, h0, init, *rest):
        return unfused.gated_transpose(
            differentiable, gates, pre, h0, init, reset, mask, *rest, reverse=reverse
        )

    dpre, dh0, dinit, *drest = jax.vjp(at_once, pre, h0, init, *rest)[1](cotangents)
    return dpre, dh0, dinit, None, None, *drest


_gated.defvjp(_gated_forward, _gated_backward)
_gated_transpose.defvjp(_gated_transpose_forward, _gated_transpose_backward)
