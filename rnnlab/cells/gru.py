"""The gated recurrent unit."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from rnnlab.cells.gap_decay import DEFAULT_RATES, initial_gap_rates
from rnnlab.cells.nonlinear import NonlinearCell
from rnnlab.cells.step_functions import (
    GateInputs,
    StepFunctions,
    add_inputs,
    recurrent_gates,
)
from rnnlab.dtypes import accumulation_dtype


def gru_preactivations(
    recurrent: GateInputs, inputs: GateInputs, candidate_bias: Array
) -> GateInputs:
    """Returns `x W + h U + b` of r and z, and the two parts of n: `x W + b` and `h U + b_hn`."""
    r, z, n = recurrent
    input_r, input_z, input_n = (x.astype(n.dtype) for x in inputs)
    return input_r + r, input_z + z, input_n, n + jnp.broadcast_to(candidate_bias, n.shape)


def gru_update(h: Array, preactivations: GateInputs) -> Array:
    """Returns the next state from the last one and `gru_preactivations`."""
    r, z, input_n, recurrent_n = preactivations
    n = jnp.tanh(input_n + jax.nn.sigmoid(r) * recurrent_n)
    return n + jax.nn.sigmoid(z) * (h - n)


class ResetBeforeStep(StepFunctions):
    """The step of a GRU that applies the reset gate before the candidate's matmul."""

    single_matmul = False

    def step(
        self,
        carry: Array,
        inputs: GateInputs,
        kernel: Array,
        candidate_bias: Array,
        dot: Any = None,
    ) -> Array:
        """Returns the next state, with one matmul for r and z and a second one for n."""
        h, dot = carry, dot or recurrent_gates
        gates, candidate = inputs[:2], inputs[2:]
        gate_kernel, candidate_kernel = jnp.split(kernel, [2 * h.shape[-1]], axis=-1)
        r, z = map(jax.nn.sigmoid, add_inputs(dot(h, gate_kernel, gates), gates))
        (n,) = add_inputs(dot(r * h, candidate_kernel, candidate), candidate)
        n = jnp.tanh(n + jnp.broadcast_to(candidate_bias, h.shape))
        return n + z * (h - n)


RESET_AFTER = StepFunctions(gru_preactivations, gru_update)
RESET_BEFORE = ResetBeforeStep(None, None)
gru_step = RESET_AFTER.step
"""`gru_step(h, inputs, recurrent_kernel, candidate_bias)`: one time step on arrays."""


class GRU(NonlinearCell):
    """Gated recurrent unit; by default the variant of cuDNN and torch.nn.GRU.

        r[t] = sigmoid(x[t] Wr + h[t-1] Ur + br)
        z[t] = sigmoid(x[t] Wz + h[t-1] Uz + bz)
        n[t] = tanh(x[t] Wn + bn + r[t] * (h[t-1] Un + b_hn))
        h[t] = (1 - z[t]) n[t] + z[t] h[t-1],   y[t] = h[t]

    `kernel`, `recurrent_kernel` and `bias` hold the gates in the order r, z, n; `candidate_bias` is
    b_hn. torch's two biases of r and of z are one here: their sum.

    Args:
      in_features, features: width of the input and of the state.
      rngs: source of the parameters' keys.
      reset_after: True applies r after the recurrent matmul, as above; False before it, as in the
        original paper, `n = tanh(x Wn + bn + (r * h) Un + b_hn)`, at the price of a second matmul.
      gap_decay: whether the state decays with the time between inputs, `gaps` of a call, before
        each input is read, as in GRU-D; not with backend `"newton"`.
      gap_rates: smallest and largest initial rate of that decay, per unit of the gaps.
      kernel_init, recurrent_init, bias_init: initializers, applied to each gate on its own.
      dtype: dtype of the matmuls and of `ys`; None is `param_dtype`. Gates and carry are float32 or
        wider.
      param_dtype: dtype of the parameters.
      backend: `"scan"` and `"auto"` are `jax.lax.scan`; `"newton"` finds all states in parallel,
        see `rnnlab.cells.backends.newton`.

    Raises:
      ValueError: an option is unknown, or a call's shapes or dtypes do not fit.

    Source: Cho et al., arXiv 1406.1078 (reset before); the other form is that of cuDNN.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> cell = GRU(3, 8, rngs=nnx.Rngs(0))
    >>> carry, ys = cell(cell.initial_carry((2,)), jnp.ones((2, 5, 3)))
    >>> carry.shape, ys.shape
    ((2, 8), (2, 5, 8))
    """

    num_gates = 3

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        reset_after: bool = True,
        gap_decay: bool = False,
        gap_rates: tuple[float, float] = DEFAULT_RATES,
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
        self.reset_after = reset_after
        self.candidate_bias = nnx.Param(bias_init(rngs.params(), (features,), param_dtype))
        if gap_decay:
            if backend == "newton":
                raise ValueError(
                    "backend must be 'scan' or 'auto' with gap_decay, got 'newton'; change one"
                )
            self.gap_rate = initial_gap_rates(features, tuple(gap_rates), self.param_dtype)

    def _weights(self) -> tuple[Array, ...]:
        bias = self.candidate_bias[...].astype(accumulation_dtype(self.dtype))
        return (*super()._weights(), bias)

    def _gate_dict(self, sigmoids: Array) -> dict[str, Array]:
        r, z, _ = jnp.split(sigmoids, 3, axis=-1)
        return {"r": r, "z": z}

    @property
    def step_functions(self) -> StepFunctions:
        """The step, with r applied after or before the recurrent matmul."""
        return RESET_AFTER if self.reset_after else RESET_BEFORE
