"""The Elman RNN: one gateless state."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from rnnlab.cells.nonlinear import NonlinearCell
from rnnlab.cells.step_functions import GateInputs, StepFunctions, add_inputs
from rnnlab.validation import require_one_of

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}


@dataclass(frozen=True)
class RNNUpdate:
    """The next state from the pre-activation `x W + h U + b`, hashed by value."""

    activation: str = "tanh"

    def __call__(self, h: Array, preactivations: GateInputs) -> Array:
        (total,) = preactivations
        return ACTIVATIONS[self.activation](total)


class VanillaRNN(NonlinearCell):
    """Elman RNN.

        h[t] = tanh(x[t] W + h[t-1] U + b),   y[t] = h[t]

    Args:
      in_features, features: width of the input and of the state.
      rngs: source of the parameters' keys.
      activation: `"tanh"` or `"relu"`.
      kernel_init, recurrent_init, bias_init: initializers of W, U and b.
      dtype: dtype of the matmuls and of `ys`; None is `param_dtype`. The carry is float32 or wider.
      param_dtype: dtype of the parameters.
      backend: `"scan"` and `"auto"` are `jax.lax.scan`; `"newton"` finds all states in parallel,
        see `rnnlab.cells.backends.newton`.

    Raises:
      ValueError: an option is unknown, or a call's shapes or dtypes do not fit.

    Source: Elman, "Finding Structure in Time", Cognitive Science 14 (1990).

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> cell = VanillaRNN(3, 8, rngs=nnx.Rngs(0))
    >>> carry, ys = cell(cell.initial_carry((2,)), jnp.ones((2, 5, 3)))
    >>> carry.shape, ys.shape
    ((2, 8), (2, 5, 8))
    """

    num_gates = 1

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        activation: str = "tanh",
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),
        recurrent_init: nnx.Initializer = nnx.initializers.orthogonal(),
        bias_init: nnx.Initializer = nnx.initializers.zeros_init(),
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        backend: str = "auto",
    ):
        require_one_of("activation", activation, ACTIVATIONS)
        super().__init__(
            in_features,
            features,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
            bias_init=bias_init,
            dtype=dtype,
            param_dtype=param_dtype,
            backend=backend,
            rngs=rngs,
        )
        self.activation = activation

    @property
    def step_functions(self) -> StepFunctions:
        """The step: `step_functions.step(h, (x W + b,), U)` returns the next state."""
        return StepFunctions(add_inputs, RNNUpdate(self.activation))
