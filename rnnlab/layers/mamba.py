"""Mamba: a state space layer whose coefficients read the input, on rnnlab's linear scan."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.layers.conv import CausalConv
from rnnlab.recurrent import Recurrent
from rnnlab.scan import BACKENDS, linear_scan
from rnnlab.scan.affine import carry_term
from rnnlab.validation import require_one_of, require_positive_int

DELTA_RANGE = (1e-3, 1e-1)
"""Step sizes at initialisation, log-uniform."""


class MambaCarry(NamedTuple):
    """The convolution's window and the state of each feature."""

    conv: Float[Array, "*batch window features"]
    state: Float[Array, "*batch features state_size"]


class Mamba(Recurrent):
    """The selective state space layer (S6) with its convolution and gate.

        u, z = x W_in
        u = silu(conv(u))
        d, B, C = u W_x
        delta = softplus(d W_delta + b_delta)
        h[t, n] = exp(delta A[n]) h[t-1, n] + delta B[n] u,   A = -exp(log_rate)
        y[t] = (sum over n of C[n] h[t, n] + skip u) * silu(z)

    The norm before it and the output projection behind it are a block's: the paper's layer is
    `Block(width, Mamba, expansion=2)`. The state's arithmetic is float32 or wider. `mask` must be
    right padding.

    Args:
      in_features, features: width of the input, and of the state's features.
      rngs: source of the parameters' keys.
      state_size: states of each feature, the paper's N.
      conv_size: taps of the causal convolution.
      dt_rank: rank of the projection to delta; None is `ceil(in_features / 16)`.
      kernel_init: initialiser of `in_kernel` and `x_kernel`.
      dtype: dtype of projections and `ys`; None is `param_dtype`. Carries are float32 or wider.
      param_dtype: dtype of the parameters.
      backend: the scan's; see `rnnlab.linear_scan`.

    Raises:
      ValueError: an option is out of range, or a call's shapes or dtypes do not fit.

    Source: arXiv 2312.00752, section 3.2 (algorithm 2) and section 3.4; b is delta B u, and delta
    and A start as in the authors' code.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> layer = Mamba(3, 8, rngs=nnx.Rngs(0))
    >>> carry, ys = layer(layer.initial_carry((2,)), jnp.ones((2, 5, 3)))
    >>> carry.conv.shape, carry.state.shape, ys.shape
    ((2, 3, 8), (2, 8, 16), (2, 5, 8))
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        state_size: int = 16,
        conv_size: int = 4,
        dt_rank: int | None = None,
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        backend: str = "auto",
    ):
        require_positive_int(in_features=in_features, features=features, state_size=state_size)
        require_positive_int(conv_size=conv_size)
        dt_rank = math.ceil(in_features / 16) if dt_rank is None else dt_rank
        require_positive_int(dt_rank=dt_rank)
        require_one_of("backend", backend, BACKENDS)
        self.in_features = in_features
        self.features = features
        self.state_size = state_size
        self.dt_rank = dt_rank
        self.dtype = compute_dtype(dtype, param_dtype)
        self.backend = backend

        def kernel(inputs, outputs):
            return nnx.Param(kernel_init(rngs.params(), (inputs, outputs), param_dtype))

        self.in_kernel = kernel(in_features, 2 * features)
        self.conv = CausalConv(
            features, conv_size, rngs=rngs, dtype=self.dtype, param_dtype=param_dtype
        )
        self.x_kernel = kernel(features, dt_rank + 2 * state_size)
        bound = dt_rank**-0.5
        self.delta_kernel = nnx.Param(
            jax.random.uniform(rngs.params(), (dt_rank, features), param_dtype, -bound, bound)
        )
        self.delta_bias = nnx.Param(_delta_bias(rngs.params(), features).astype(param_dtype))
        rates = jnp.log(jnp.arange(1, state_size + 1, dtype=param_dtype))
        self.log_rate = nnx.Param(jnp.broadcast_to(rates[None], (features, state_size)))
        self.skip = nnx.Param(jnp.ones((features,), param_dtype))

    def initial_carry(self, batch_shape: Sequence[int]) -> MambaCarry:
        """Zeros: a window (*batch_shape, conv_size - 1, features), a state (..., state_size)."""
        shape = (*batch_shape, self.features, self.state_size)
        state = jnp.zeros(shape, accumulation_dtype(self.dtype))
        return MambaCarry(self.conv.initial_carry(batch_shape), state)

    def run_sequence(self, carry, xs, reset, mask, key):
        u, z = self._in(xs)
        window, u = self.conv(carry.conv, u, reset=reset, mask=mask)
        u = jax.nn.silu(u)
        delta, b, c = self._selected(u, mask)
        rates = jnp.exp(self.log_rate[...].astype(delta.dtype))
        y, state = selective_scan(
            u, delta, rates, b, c, carry.state, reset=reset, backend=self.backend
        )
        return MambaCarry(window, state), self._out(y, u, z)

    def run_step(self, carry, x, reset, mask, key):
        u, z = self._in(x)
        window, u = self.conv.step(carry.conv, u, reset=reset, mask=mask)
        u = jax.nn.silu(u)
        delta, b, c = self._selected(u, mask)
        rates = jnp.exp(self.log_rate[...].astype(delta.dtype))
        a = jnp.exp(-delta[..., None] * rates.reshape((1,) * (x.ndim - 1) + rates.shape))
        cut = None if reset is None else reset[..., None, None]
        flow = (delta * u.astype(delta.dtype))[..., None] * b[..., None, :]
        state = flow + carry_term(a, carry.state, cut)
        y = jnp.sum(state * c[..., None, :], -1)
        return MambaCarry(window, state), self._out(y, u, z)

    def _in(self, x):
        return jnp.split(_dot(x.astype(self.dtype), self.in_kernel), 2, -1)

    def _selected(self, u, mask):
        """delta, of the shape of u, B and C, with state_size in place of features."""
        wide = accumulation_dtype(self.dtype)
        low, b, c = jnp.split(
            _dot(u, self.x_kernel), (self.dt_rank, self.dt_rank + self.state_size), -1
        )
        raw = _dot(low, self.delta_kernel).astype(wide)
        delta = jax.nn.softplus(raw + _as(self.delta_bias, raw))
        if mask is not None:  # a step of size 0 holds the state: its decay is 1, its input 0
            delta = jnp.where(jnp.expand_dims(mask, -1), delta, 0)
        return delta, b.astype(wide), c.astype(wide)

    def _out(self, y, u, z):
        y = y + _as(self.skip, y) * u.astype(y.dtype)
        return y.astype(self.dtype) * jax.nn.silu(z)


def selective_scan(
    u: Float[Array, "*batch time features"],
    delta: Float[Array, "*batch time features"],
    rates: Float[Array, "features state_size"],
    b: Float[Array, "*batch time state_size"],
    c: Float[Array, "*batch time state_size"],
    h0: Float[Array, "*batch features state_size"],
    *,
    reset: Bool[Array, "*batch time"] | None = None,
    backend: str = "auto",
) -> tuple[Float[Array, "*batch time features"], Float[Array, "*batch features state_size"]]:
    """The sums over n of `c[t, n] h[t, n]`, in delta's dtype, and the last states.

        h[t, n] = exp(-delta[t] rates[n]) h[t-1, n] + delta[t] b[t, n] u[t]

    The states are made for one n after the other, and again in the backward pass, so that those of
    all n never exist at once: a seventh of the memory, and on CPU half the time.

    Source: arXiv 2312.00752, section 3.3.2, which recomputes the states for the same reason.

    >>> import jax.numpy as jnp
    >>> u, b = jnp.ones((3, 1)), jnp.ones((3, 2))
    >>> rates = jnp.log(jnp.array([[1.0, 2.0]]))  # decays of 1 and 1/2
    >>> y, last = selective_scan(u, u, rates, b, b, jnp.zeros((1, 2)))
    >>> print(y[:, 0], last)
    [2.   3.5  4.75] [[3.   1.75]]
    """
    flow = delta * u.astype(delta.dtype)

    @jax.checkpoint
    def add(y, row):
        rate, b, c, h0 = row
        a = jnp.exp(-delta * jnp.broadcast_to(rate, delta.shape))
        h = linear_scan(a, flow * b[..., None], h0, reset=reset, backend=backend)
        return y + h * c[..., None], h0 if h.size == 0 else h[..., -1, :]

    rows = tuple(jnp.moveaxis(x, -1, 0) for x in (rates, b, c, h0))
    y, last = lax.scan(add, jnp.zeros_like(delta), rows)
    return y, jnp.moveaxis(last, 0, -1)


def _dot(x, kernel):
    """`x @ kernel` with all leading axes made one, which XLA differentiates without transposing."""
    kernel = kernel[...].astype(x.dtype)
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) @ kernel
    return rows.reshape(*x.shape[:-1], kernel.shape[-1])


def _as(vector, x):
    return jnp.broadcast_to(vector[...].astype(x.dtype), x.shape)


def _delta_bias(key, features):
    """Softplus' inverse of step sizes drawn log-uniformly."""
    low, high = map(math.log, DELTA_RANGE)
    delta = jnp.exp(jax.random.uniform(key, (features,), minval=low, maxval=high))
    return delta + jnp.log(-jnp.expm1(-delta))
