"""The step of a nonlinear cell, in the form that the loop over time and Newton's method take."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

GateInputs = tuple[Array, ...]
"""One array for each gate of a cell, in the order of its kernels."""


@dataclass(frozen=True)
class StepFunctions:
    """A step with one matmul: `update` of `preactivations` of the state's share of each gate.

    Hashed by value, as it keys compiled programs. All functions work over any leading axes.

    Attributes:
      preactivations: `(recurrent, inputs, *others) -> preactivations`, linear in all of its
        arguments: what the state adds to each gate, the projected input of each gate, and the
        weights except the recurrent kernel.
      update: `(carry, preactivations) -> carry`, each unit independent of the others. None where
        the step has a second matmul.
    """

    single_matmul = True  # so that its gradient is one matmul over all time steps
    preactivations: Callable[..., GateInputs] | None
    update: Callable[[Any, GateInputs], Any] | None

    def step(
        self, carry: Any, inputs: GateInputs, kernel: Array, *others: Array, dot: Any = None
    ) -> Any:
        """Returns the carry after one time step.

        Args:
          carry: the carry before it.
          inputs: the projected input of each gate.
          kernel: the recurrent kernel.
          others: further weights, such as the bias of the GRU's candidate.
          dot: what multiplies the state by the kernel; None is `recurrent_gates`.
        """
        recurrent = (dot or recurrent_gates)(hidden(carry), kernel, inputs)
        return self.update(carry, self.preactivations(recurrent, inputs, *others))

    def diagonal_jacobian(self, carry: Any, inputs: GateInputs, *weights: Array) -> tuple[Any, Any]:
        """Returns (p, q), each like a carry: a unit's new states by its old ones are about p q'.

        Newton's method takes this part of the Jacobian, see `rnnlab.cells.backends.newton`.
        """
        ones = jnp.ones_like(carry)

        def step(carry):
            return self.step(carry, inputs, *weights, dot=own_state_gates)

        return ones, jax.jvp(step, (carry,), (ones,))[1]


def hidden(carry: Any) -> Array:
    """Returns the state that is the output and that the matmul reads: the last of a carry."""
    return carry[-1] if isinstance(carry, tuple) else carry


def replace_hidden(carry: Any, h: Array) -> Any:
    """Returns the carry with another `hidden` state."""
    return carry._replace(h=h) if isinstance(carry, tuple) else h


def recurrent_dot(h: Array, kernel: Array, dtype: DTypeLike) -> Array:
    """Returns `h @ kernel` with operands in `dtype` and the sum in h's dtype.

    The kernel is narrowed here and not before the loop, so that its cotangent is summed over time
    in its own dtype: in bfloat16 that sum loses its digits within a few thousand steps.
    """
    operands = h.astype(dtype), kernel.astype(dtype)
    return jnp.matmul(*operands, preferred_element_type=h.dtype)


def recurrent_gates(h: Array, kernel: Array, inputs: GateInputs) -> GateInputs:
    """Returns what the state adds to each gate of `inputs`, in h's dtype."""
    return tuple(jnp.split(recurrent_dot(h, kernel, inputs[0].dtype), len(inputs), axis=-1))


def own_state_gates(h: Array, kernel: Array, inputs: GateInputs) -> GateInputs:
    """Returns `recurrent_gates`, whose derivative is that with respect to a unit's own state."""
    fixed = lax.stop_gradient(h)
    gates = recurrent_gates(fixed, kernel, inputs)
    diagonals = recurrent_diagonals(kernel, h)
    return tuple(g + w * (h - fixed) for g, w in zip(gates, diagonals, strict=True))


def add_inputs(recurrent: GateInputs, inputs: GateInputs) -> GateInputs:
    """Returns the pre-activations of a cell that adds the two."""
    return tuple(r + x.astype(r.dtype) for r, x in zip(recurrent, inputs, strict=True))


def recurrent_diagonals(kernel: Array, h: Array) -> list[Array]:
    """Returns the diagonal of each gate's kernel, by which a unit reads its own state, like h."""
    features = len(kernel)
    by_gate = jnp.diagonal(kernel.reshape(features, -1, features), axis1=0, axis2=2)
    return [jnp.broadcast_to(own, h.shape) for own in by_gate]
