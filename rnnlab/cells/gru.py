"""The gated recurrent unit."""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from rnnlab.cells.classic import ClassicCell
from rnnlab.cells.equations import Equations, own_weights, recurrent_dot
from rnnlab.scan.step import state_dtype


def gru_next(
    h: Array,
    pre: Array,
    recurrent_kernel: Array,
    candidate_bias: Array,
    reset_after: bool = True,
) -> Array:
    """The next state from the last one and the projected input `pre = x W + b`, gates r, z, n."""
    _, z, _, n = _gates(h, pre, recurrent_kernel, candidate_bias, reset_after)
    return n + z * (h - n)


def gru_factors(
    h: Array,
    pre: Array,
    recurrent_kernel: Array,
    candidate_bias: Array,
    reset_after: bool = True,
) -> tuple[Array, Array]:
    """A unit's derivative of its next state by its last one, as 1 and that. See `newton`."""
    r, z, inner, n = _gates(h, pre, recurrent_kernel, candidate_bias, reset_after)
    by_r, by_z, by_n = own_weights(recurrent_kernel, h)
    dr, dz = r * (1 - r) * by_r, z * (1 - z) * by_z
    dn = (1 - n * n) * (dr * inner + r * by_n if reset_after else (r + dr * h) * by_n)
    return jnp.ones_like(h), z + dz * (h - n) + (1 - z) * dn


def _gates(h, pre, recurrent_kernel, candidate_bias, reset_after):
    """r, z, what the state adds to the candidate (before r, where that comes after), and n."""
    width, dtype = h.shape[-1], pre.dtype
    pre = pre.astype(h.dtype)
    bias = jnp.broadcast_to(candidate_bias, h.shape)
    if reset_after:
        recurrent = recurrent_dot(h, recurrent_kernel, dtype)
        gates, candidate = recurrent[..., : 2 * width], recurrent[..., 2 * width :] + bias
    else:
        gates = recurrent_dot(h, recurrent_kernel[:, : 2 * width], dtype)
    r, z = jnp.split(jax.nn.sigmoid(pre[..., : 2 * width] + gates), 2, axis=-1)
    if not reset_after:
        candidate = recurrent_dot(r * h, recurrent_kernel[:, 2 * width :], dtype) + bias
    n = jnp.tanh(pre[..., 2 * width :] + (r * candidate if reset_after else candidate))
    return r, z, candidate, n


class GRU(ClassicCell):
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
        see `rnnlab.cells.newton`.

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
        bias = self.candidate_bias[...].astype(state_dtype(self.dtype))
        return (*super()._weights(), bias)

    def _gates(self, sigmoids: Array) -> dict[str, Array]:
        r, z, _ = jnp.split(sigmoids, 3, axis=-1)
        return {"r": r, "z": z}

    @property
    def equations(self) -> Equations:
        return _equations(self.reset_after)


@lru_cache
def _equations(reset_after: bool) -> Equations:
    return Equations(
        partial(gru_next, reset_after=reset_after), partial(gru_factors, reset_after=reset_after)
    )
