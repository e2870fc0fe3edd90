"""Nonlinear cells one time step after another, by `jax.lax.scan`.

JAX's own gradient of such a loop adds up the cotangent of the recurrent kernel at every step, a
matrix as large as the kernel. Where a step has one matmul, a gradient rule stores the cotangents of
the pre-activations instead, and one matmul over all steps follows the backward loop.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from rnnlab.cells.step_functions import (
    GateInputs,
    StepFunctions,
    hidden,
    recurrent_dot,
    recurrent_gates,
    replace_hidden,
)
from rnnlab.recurrent import tree_where
from rnnlab.scan.affine import as_residual


class StepInputs(NamedTuple):
    """The inputs and flags of one time step, or of all time steps, time first.

    Attributes:
      gates: projected inputs (time, *batch, features) for each gate.
      reset, mask: flags (time, *batch), or None.
      decay: what the state is multiplied by before a step, (time, *batch, features), or None.
    """

    gates: GateInputs
    reset: Array | None = None
    mask: Array | None = None
    decay: Array | None = None


@partial(jax.jit, static_argnums=(0, 1))
def scan(
    functions: StepFunctions,
    dtype: DTypeLike,
    weights: tuple[Array, ...],
    carry: Any,
    init: Any,
    inputs: StepInputs,
) -> tuple[Any, Array]:
    """Returns the carry after the last time step and all outputs, time first, in `dtype`.

    Args:
      functions: the step of the cell, static.
      dtype: dtype of the matmuls and of the outputs.
      weights: the recurrent kernel and further weights of the step.
      carry, init: the state before the first step, and the one that a reset restores.
      inputs: inputs and flags of all time steps. A step resets, then decays, then updates, then
        keeps the old state where masked.

    Where the step has one matmul and no decay, only reverse mode is defined, of any order.
    """
    reverse_mode_only = is_reverse_mode_only(functions, inputs.decay)
    run = _single_matmul_scan if reverse_mode_only else _plain
    return run(functions, dtype, weights, carry, init, inputs)


def is_reverse_mode_only(functions: StepFunctions, decay: Array | None) -> bool:
    """Returns whether `scan` has a gradient rule of its own: one matmul per step and no decay."""
    return functions.single_matmul and decay is None


def masked_step(
    functions: StepFunctions,
    weights: tuple[Array, ...],
    carry: Any,
    init: Any,
    step_inputs: StepInputs,
) -> Any:
    """Returns the carry after one time step: reset, decay, update, then keep where masked."""
    pre, reset, mask, decay = step_inputs
    carry = tree_where(reset, init, carry)
    decayed = carry if decay is None else jax.tree.map(lambda x: decay * x, carry)
    return _keep_masked(mask, functions.step(decayed, pre, *weights), carry)


def _plain(functions, dtype, weights, carry, init, inputs):
    def body(carry, step_inputs):
        carry = masked_step(functions, weights, carry, init, step_inputs)
        return carry, hidden(carry).astype(dtype)

    return lax.scan(body, carry, inputs)


_single_matmul_scan = jax.custom_vjp(_plain, nondiff_argnums=(0, 1))


def _forward(functions, dtype, weights, carry, init, inputs):
    kernel, *others = weights

    def body(carry, step_inputs):
        pre, reset, mask, _ = step_inputs
        carry = tree_where(reset, init, carry)
        recurrent = recurrent_gates(hidden(carry), kernel, pre)
        sums = functions.preactivations(recurrent, pre, *others)
        new = _keep_masked(mask, functions.update(carry, sums), carry)
        return new, (new, sums)

    last, (carries, sums) = lax.scan(body, carry, inputs)
    ys = hidden(carries).astype(dtype)
    return (last, ys), (weights, carry, init, inputs, carries, sums)


def _backward(functions, dtype, residuals, cotangents):
    (kernel, *others), carry, init, (pre, reset, mask, _), carries, sums = residuals
    dlast, dys = cotangents
    before = tree_where(reset, init, preceding(carries, carry))
    zeros = jax.tree.map(jnp.zeros_like, carry)
    # Transposed once: a matmul that reads it transposed is slower at every step.
    transposed = kernel.T
    # `preactivations` is linear: its cotangents do not depend on where they are taken.
    no_inputs = tuple(hidden(zeros).astype(p.dtype) for p in pre)
    pull_step = jax.vjp(
        lambda r: functions.preactivations(r, no_inputs, *others), (hidden(zeros),) * len(pre)
    )[1]

    def body(later, step_inputs):
        (dcarry, dinit), (dy, before, sums, reset, mask) = later, step_inputs

        def rest(carry, sums):
            new = _keep_masked(mask, functions.update(carry, sums), carry)
            return new, hidden(new).astype(dtype)

        dbefore, dsums = jax.vjp(rest, before, sums)[1]((dcarry, dy))
        (drecurrent,) = pull_step(dsums)
        dh = recurrent_dot(jnp.concatenate(drecurrent, -1), transposed, dtype)
        dbefore = replace_hidden(dbefore, hidden(dbefore) + dh)
        dinit = jax.tree.map(jnp.add, dinit, tree_where(reset, dbefore, zeros))
        return (tree_where(reset, zeros, dbefore), dinit), dsums

    inputs = dys, before, sums, reset, mask
    (dcarry, dinit), dsums = lax.scan(body, (dlast, zeros), inputs, reverse=True)

    h = hidden(before)
    pull = jax.vjp(functions.preactivations, (jnp.zeros_like(h),) * len(pre), pre, *others)[1]
    drecurrent, dpre, *dothers = pull(dsums)
    by_gate = [sum_of_products(h.astype(dtype), d.astype(dtype), h.dtype) for d in drecurrent]
    return (jnp.concatenate(by_gate, -1), *dothers), dcarry, dinit, StepInputs(dpre)


_single_matmul_scan.defvjp(_forward, _backward)


def sum_of_products(x: Array, g: Array, dtype: DTypeLike) -> Array:
    """Returns the sum over all axes but the last of the outer products of `x` and `g`.

    It is the cotangent of a kernel. Time and batch are not merged into one axis first: where the
    batch is cut over devices, XLA would gather both arrays for it.
    """
    axes = tuple(range(x.ndim - 1))
    dimensions = ((axes, axes), ((), ()))
    return lax.dot_general(x, g, dimensions, preferred_element_type=dtype)


@jax.custom_vjp
def project(x: Array, kernel: Array) -> Array:
    """Returns `x @ kernel` for arrays with time first. It has reverse-mode derivatives only.

    `rnnlab.recurrent.dense` merges the leading axes, see `sum_of_products`. Without that, and
    without this gradient rule, XLA would transpose the whole cotangent of the result.
    """
    return jnp.matmul(x, kernel)


def _project_forward(x, kernel):
    return project(x, kernel), as_residual((x, kernel))


def _project_backward(residuals, dy):
    x, kernel = residuals
    return jnp.matmul(dy, kernel.T), sum_of_products(x, dy, kernel.dtype)


project.defvjp(_project_forward, _project_backward)


def _keep_masked(mask, new, carry):
    return new if mask is None else tree_where(mask, new, carry)


def preceding(carries: Any, carry: Any) -> Any:
    """Returns the carry before each step, time first, from those after it and the initial one."""

    def one(s, c):
        return jnp.concatenate([c[None], s[:-1]])[: s.shape[0]]  # empty if there are no steps

    return jax.tree.map(one, carries, carry)
