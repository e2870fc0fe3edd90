"""The gated recurrent unit."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from rnnlab.cells.nonlinear import NonlinearCell
from rnnlab.cells.step_functions import (
    Equations,
    Gates,
    both,
    own_weights,
    recurrent_gates,
    with_one_matmul,
)
from rnnlab.dtypes import accumulation_dtype


def gru_sums(recurrent: Gates, pre: Gates, candidate_bias: Array) -> Gates:
    """`x W + h U + b` of r and z, and the two parts of n: `x W + b` and `h U + b_hn`."""
    r, z, n = recurrent
    pre_r, pre_z, pre_n = (p.astype(n.dtype) for p in pre)
    return pre_r + r, pre_z + z, pre_n, n + jnp.broadcast_to(candidate_bias, n.shape)


def gru_pointwise(h: Array, sums: Gates) -> Array:
    """The next state from the last one and `gru_sums`."""
    r, z, pre_n, inner = sums
    n = jnp.tanh(pre_n + jax.nn.sigmoid(r) * inner)
    return n + jax.nn.sigmoid(z) * (h - n)


def gru_factors(
    h: Array, pre: Gates, recurrent_kernel: Array, candidate_bias: Array
) -> tuple[Array, Array]:
    """A unit's derivative of its next state by its last one, as 1 and that. See `newton`."""
    recurrent = recurrent_gates(h, recurrent_kernel, pre)
    r, z, pre_n, inner = gru_sums(recurrent, pre, candidate_bias)
    r, z = jax.nn.sigmoid(r), jax.nn.sigmoid(z)
    by_r, by_z, by_n = own_weights(recurrent_kernel, h)
    n = jnp.tanh(pre_n + r * inner)
    dn = (1 - n * n) * (r * (1 - r) * by_r * inner + r * by_n)
    return jnp.ones_like(h), z + z * (1 - z) * by_z * (h - n) + (1 - z) * dn


AFTER = with_one_matmul(gru_sums, gru_pointwise, gru_factors)


def gru_before(h: Array, pre: Gates, recurrent_kernel: Array, candidate_bias: Array) -> Array:
    """The next state where the reset gate is applied before the candidate's matmul."""
    _, z, n = _gates_before(h, pre, recurrent_kernel, candidate_bias)
    return n + z * (h - n)


def gru_before_factors(
    h: Array, pre: Gates, recurrent_kernel: Array, candidate_bias: Array
) -> tuple[Array, Array]:
    """As `gru_factors`."""
    r, z, n = _gates_before(h, pre, recurrent_kernel, candidate_bias)
    by_r, by_z, by_n = own_weights(recurrent_kernel, h)
    dn = (1 - n * n) * (r + r * (1 - r) * by_r * h) * by_n
    return jnp.ones_like(h), z + z * (1 - z) * by_z * (h - n) + (1 - z) * dn


def _gates_before(h, pre, recurrent_kernel, candidate_bias):
    gates, candidate = pre[:2], pre[2:]
    kernel, candidate_kernel = jnp.split(recurrent_kernel, [2 * h.shape[-1]], axis=-1)
    r, z = map(jax.nn.sigmoid, both(recurrent_gates(h, kernel, gates), gates))
    (n,) = both(recurrent_gates(r * h, candidate_kernel, candidate), candidate)
    return r, z, jnp.tanh(n + jnp.broadcast_to(candidate_bias, h.shape))


BEFORE = Equations(gru_before, gru_before_factors)


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
      kernel_init, recurrent_init, bias_init: initialisers, applied to each gate on its own.
      dtype: dtype of the matmuls and of `ys`; None is `param_dtype`. Gates and carry are float32 or
        wider.
      param_dtype: dtype of the parameters.
      backend: `"scan"` is `jax.lax.scan`, and `"auto"` too; `"newton"` finds all states at once,
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

    gates = 3

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        reset_after: bool = True,
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

    def _weights(self) -> tuple[Array, ...]:
        bias = self.candidate_bias[...].astype(accumulation_dtype(self.dtype))
        return (*super()._weights(), bias)

    def _gates(self, sigmoids: Array) -> dict[str, Array]:
        r, z, _ = jnp.split(sigmoids, 3, axis=-1)
        return {"r": r, "z": z}

    @property
    def equations(self) -> Equations:
        return AFTER if self.reset_after else BEFORE
