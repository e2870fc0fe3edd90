"""Long short-term memory."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from rnnlab.call_arguments import BatchShape
from rnnlab.cells.backends import cudnn
from rnnlab.cells.nonlinear import NonlinearCell
from rnnlab.cells.step_functions import (
    GateInputs,
    StepFunctions,
    add_inputs,
    own_state_gates,
)


class LSTMCarry(NamedTuple):
    """The LSTM's two states: the cell `c` and the output `h`, each (*batch, features)."""

    c: Float[Array, "*batch features"]
    h: Float[Array, "*batch features"]


def lstm_update(carry: LSTMCarry, preactivations: GateInputs) -> LSTMCarry:
    """Returns the next states from the last ones and `x W + h U + b` of the gates i, f, g, o."""
    i, f, g, o = _activate(preactivations)
    c = f * carry.c + i * g
    return LSTMCarry(c, o * jnp.tanh(c))


def _activate(preactivations):
    i, f, g, o = preactivations
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


class LSTMStep(StepFunctions):
    """The LSTM's step, with its two states."""

    def diagonal_jacobian(
        self, carry: LSTMCarry, inputs: GateInputs, kernel: Array
    ) -> tuple[LSTMCarry, LSTMCarry]:
        """Returns (p, q): h' follows c', and c' both states.

        It omits what the output gate reads of h, which is not a product of this form.
        """
        ones, zeros = jnp.ones_like(carry.c), jnp.zeros_like(carry.c)

        def next_c(carry):
            return self.step(carry, inputs, kernel, dot=own_state_gates).c

        c, by_c = jax.jvp(next_c, (carry,), (LSTMCarry(ones, zeros),))
        by_h = jax.jvp(next_c, (carry,), (LSTMCarry(zeros, ones),))[1]
        *_, o = _activate(add_inputs(own_state_gates(carry.h, kernel, inputs), inputs))
        h_by_c = jax.jvp(lambda c: o * jnp.tanh(c), (c,), (ones,))[1]
        return LSTMCarry(ones, h_by_c), LSTMCarry(by_c, by_h)


LSTM_STEP = LSTMStep(add_inputs, lstm_update)
lstm_step = LSTM_STEP.step
"""`lstm_step(carry, inputs, recurrent_kernel)`: one time step on arrays, without Flax."""


class LSTM(NonlinearCell):
    """Long short-term memory. Its carry is `LSTMCarry(c, h)`.

        i[t] = sigmoid(x[t] Wi + h[t-1] Ui + bi)
        f[t] = sigmoid(x[t] Wf + h[t-1] Uf + bf)
        o[t] = sigmoid(x[t] Wo + h[t-1] Uo + bo)
        g[t] = tanh(x[t] Wg + h[t-1] Ug + bg)
        c[t] = f[t] c[t-1] + i[t] g[t]
        h[t] = o[t] tanh(c[t]),   y[t] = h[t]

    `kernel`, `recurrent_kernel` and `bias` hold the gates in torch's order i, f, g, o; torch's two
    biases are one here: their sum.

    Args:
      in_features, features: width of the input and of each state.
      rngs: source of the parameters' keys.
      forget_bias: added to the initial bias of the forget gate; 1 keeps memory from the start.
      kernel_init, recurrent_init, bias_init: initializers, applied to each gate on its own.
      dtype: dtype of the matmuls and of `ys`; None is `param_dtype`. Gates and carry are float32 or
        wider.
      param_dtype: dtype of the parameters.
      backend: `"scan"` and `"auto"` are `jax.lax.scan`; `"newton"` finds all states in parallel,
        see `rnnlab.cells.backends.newton`; `"cudnn"` is NVIDIA's kernel, see
        `rnnlab.cells.backends.cudnn`.

    Raises:
      ValueError: an option is unknown, or a call's shapes or dtypes do not fit.

    Source: Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000); its bias
    of 1 after Jozefowicz et al., "An Empirical Exploration of Recurrent Network Architectures"
    (2015).

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> cell = LSTM(3, 8, rngs=nnx.Rngs(0))
    >>> carry, ys = cell(cell.initial_carry((2,)), jnp.ones((2, 5, 3)))
    >>> carry.c.shape, carry.h.shape, ys.shape
    ((2, 8), (2, 8), (2, 5, 8))
    """

    num_gates = 4
    backends = (*NonlinearCell.backends, "cudnn")

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        forget_bias: float = 1.0,
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),
        recurrent_init: nnx.Initializer = nnx.initializers.orthogonal(),
        bias_init: nnx.Initializer = nnx.initializers.zeros_init(),
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        backend: str = "auto",
    ):
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
        bias = self.bias[...]
        self.bias[...] = bias.at[features : 2 * features].add(forget_bias)

    def initial_carry(self, batch_shape: BatchShape = ()) -> LSTMCarry:
        """Returns two states of zeros, each (*batch_shape, features), float32 or wider."""
        zeros = super().initial_carry(batch_shape)
        return LSTMCarry(zeros, zeros)

    def run_loop(self, carry, xs, reset, mask, key):
        if self.backend != "cudnn":
            return super().run_loop(carry, xs, reset, mask, key)
        cudnn.require_supported(self.dtype, reset)
        batch = xs.shape[:-2]
        flat = [x.reshape(-1, *x.shape[len(batch) :]) for x in (carry.c, carry.h, xs)]
        mask = None if mask is None else mask.reshape(-1, mask.shape[-1])
        parameters = self.kernel[...], self.recurrent_kernel[...], self.bias[...]
        parameters = [x.astype(jnp.float32) for x in parameters]
        results = cudnn.lstm(*parameters, *flat, mask)
        c, h, ys = (x.reshape(*batch, *x.shape[1:]) for x in results)
        return LSTMCarry(c, h), ys

    def _gate_dict(self, sigmoids: Array) -> dict[str, Array]:
        i, f, _, o = jnp.split(sigmoids, 4, axis=-1)
        return {"i": i, "f": f, "o": o}

    @property
    def step_functions(self) -> LSTMStep:
        """The step: `step_functions.step(carry, inputs, U)` returns the next `LSTMCarry`."""
        return LSTM_STEP
