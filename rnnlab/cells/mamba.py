"""Mamba: a selective state space layer (S6), whose coefficients read the input."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Bool, Float

from rnnlab.call_validation import mask_outputs
from rnnlab.cells.linear import LinearCell, LinearCellOptions
from rnnlab.layers.conv import CausalConv
from rnnlab.recurrent import dense
from rnnlab.scan import linear_scan
from rnnlab.scan.affine import carry_term
from rnnlab.scan.time_shards import from_last, time_axis
from rnnlab.scan.varying import broadcast_like, match_varying
from rnnlab.validation import require_positive_int

DT_RANGE = (1e-3, 1e-1)
"""Range of the step sizes at initialization, log-uniform."""


class MambaCarry(NamedTuple):
    """The window of the convolution and the state of each feature."""

    conv: Float[Array, "*batch window features"]
    state: Float[Array, "*batch features state_size"]


class SelectiveRecurrence(NamedTuple):
    """Mamba's recurrence and its readout, `y[t] = sum over n of C[t, n] h[t, n]`.

        h[t, n] = exp(-dt[t] rates[n]) h[t-1, n] + dt[t] B[t, n] u[t]

    Attributes:
      u, dt: inputs and step sizes, (*batch, time, features), or without time for one step.
      rates: -A, (features, state_size).
      b, c: B and C, (*batch, time, state_size), or without time for one step.
    """

    u: Float[Array, "*batch features"]
    dt: Float[Array, "*batch features"]
    rates: Float[Array, "features state_size"]
    b: Float[Array, "*batch state_size"]
    c: Float[Array, "*batch state_size"]

    def scan(
        self,
        state: Array,
        reset_state: Array,
        reset: Array | None,
        mask: Array | None,
        backend: str,
    ) -> tuple[Array, Array]:
        """Returns the last states and the outputs of all time steps."""
        # A step of size 0 keeps the state: its decay is 1, its input 0.
        dt = mask_outputs(self.dt, mask)
        y, state = selective_scan(
            self.u,
            dt,
            self.rates,
            self.b,
            self.c,
            state,
            reset_state=reset_state,
            reset=reset,
            backend=backend,
        )
        return state, y

    def step(
        self, state: Array, reset_state: Array, reset: Array | None, mask: Array | None
    ) -> tuple[Array, Array]:
        """Returns the states after one time step and its output."""
        dt = mask_outputs(self.dt, mask)
        rates = self.rates.reshape((1,) * (dt.ndim - 1) + self.rates.shape)
        a = jnp.exp(-dt[..., None] * rates)
        inputs = _input_term(self.u, dt)[..., None] * self.b[..., None, :]
        if reset is not None:
            reset = reset[..., None, None]
            inputs = jnp.where(reset, inputs + a * jnp.broadcast_to(reset_state, a.shape), inputs)
        state = inputs + carry_term(a, state, reset)
        return state, jnp.sum(state * self.c[..., None, :], -1)

    def decay(self) -> None:
        """Returns None: a feature has as many decays as states."""
        return None


class Mamba(LinearCell):
    """The selective state space layer (S6) with its convolution and gate.

        u, z = x W_in
        u = silu(conv(u))
        d, B, C = u W_x
        dt = softplus(d W_delta + b_delta)
        h[t, n] = exp(dt A[n]) h[t-1, n] + dt B[n] u,   A = -exp(log_rate)
        y[t] = (sum over n of C[n] h[t, n] + skip u) * silu(z)

    The norm before it and the output projection after it are a block's: the paper's layer is
    `Block(width, Mamba, expansion=2)`. States are float32 or wider. `mask` must be right padding.

    Args:
      in_features, features: width of the input, and of the state's features.
      rngs: source of the parameters' keys.
      state_size: states per feature, the paper's N.
      conv_size: taps of the causal convolution.
      dt_rank: rank of the projection to dt; None is `ceil(in_features / 16)`.
      kernel_init: initializer of `in_kernel` and `x_kernel`.
      learn_initial_state, initial_state_init: as in `LinearCell`.
      dtype: dtype of projections and `ys`; None is `param_dtype`. Carries are float32 or wider.
      param_dtype: dtype of the parameters.
      backend: backend of the scan; see `rnnlab.linear_scan`.

    Raises:
      ValueError: an option is out of range, or a call's shapes or dtypes do not fit.

    Source: arXiv 2312.00752, section 3.2 (algorithm 2) and section 3.4; B is discretized as dt B,
    and dt and A start as in the authors' code. `log_rate`, `skip` and `delta` are their `A_log`,
    `D` and `dt`.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> layer = Mamba(3, 8, rngs=nnx.Rngs(0))
    >>> carry, ys = layer(layer.initial_carry((2,)), jnp.ones((2, 5, 3)))
    >>> carry.conv.shape, carry.state.shape, ys.shape
    ((2, 3, 8), (2, 8, 16), (2, 5, 8))
    """

    carry_type = MambaCarry

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
        **options: Unpack[LinearCellOptions],
    ):
        require_positive_int(state_size=state_size, conv_size=conv_size)
        self.state_size = state_size
        super().__init__(in_features, features, rngs=rngs, **options)
        dt_rank = math.ceil(in_features / 16) if dt_rank is None else dt_rank
        require_positive_int(dt_rank=dt_rank)
        self.dt_rank = dt_rank
        param_dtype = self.param_dtype

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
        self.delta_bias = nnx.Param(_dt_bias(rngs.params(), features).astype(param_dtype))
        rates = jnp.log(jnp.arange(1, state_size + 1, dtype=param_dtype))
        rates = jnp.broadcast_to(rates[None], (features, state_size))
        self.log_rate = nnx.Param(rates, weight_decay=False)
        self.skip = nnx.Param(jnp.ones((features,), param_dtype), weight_decay=False)

    @property
    def conv_size(self) -> int:
        """Number of taps of the causal convolution."""
        return self.conv.kernel_size

    @property
    def state_shape(self) -> tuple[int, int]:
        """Shape of the states of one sequence, (features, state_size)."""
        return self.features, self.state_size

    def initial_carry_before_gates(self, batch_shape: Sequence[Any]) -> Array:
        """Returns an empty window of the convolution, (*batch_shape, conv_size - 1, features)."""
        return self.conv.initial_carry(batch_shape)

    def before_gates(self, carry, xs, apply):
        u, z = jnp.split(dense(xs, self.in_kernel[...], None, self.dtype), 2, -1)
        window, u = apply(self.conv, carry, u)
        return window, (jax.nn.silu(u), z)

    def recurrence(self, inputs) -> SelectiveRecurrence:
        """Returns the recurrence with its coefficients, in the dtype of the states."""
        u, _ = inputs
        sizes = self.dt_rank, self.dt_rank + self.state_size
        low, b, c = jnp.split(dense(u, self.x_kernel[...], None, self.dtype), sizes, -1)
        dt = dense(low, self.delta_kernel[...], None, self.dtype).astype(self.state_dtype)
        dt = jax.nn.softplus(dt + broadcast_like(self.delta_bias[...].astype(dt.dtype), dt))
        rates = jnp.exp(self.log_rate[...].astype(dt.dtype))
        return SelectiveRecurrence(u, dt, rates, b.astype(dt.dtype), c.astype(dt.dtype))

    def readout(self, h, inputs) -> Array:
        """Returns the summed states with the skip connection, gated by `silu(z)`."""
        u, z = inputs
        y = h + broadcast_like(self.skip[...].astype(h.dtype), h) * u.astype(h.dtype)
        return y.astype(self.dtype) * jax.nn.silu(z)


def selective_scan(
    u: Float[Array, "*batch time features"],
    dt: Float[Array, "*batch time features"],
    rates: Float[Array, "features state_size"],
    b: Float[Array, "*batch time state_size"],
    c: Float[Array, "*batch time state_size"],
    h0: Float[Array, "*batch features state_size"],
    *,
    reset_state: Float[Array, "features state_size"] | None = None,
    reset: Bool[Array, "*batch time"] | None = None,
    backend: str = "auto",
) -> tuple[Float[Array, "*batch time features"], Float[Array, "*batch features state_size"]]:
    """Returns the sums over n of `c[t, n] h[t, n]`, in dt's dtype, and the last states.

        h[t, n] = exp(-dt[t] rates[n]) h[t-1, n] + dt[t] b[t, n] u[t]

    The states are computed for one n after the other, and again in the backward pass, so that those
    of all n never exist together: this takes a seventh of the memory and, on CPU, half the time.

    Source: arXiv 2312.00752, section 3.3.2, which recomputes the states for the same reason.

    >>> import jax.numpy as jnp
    >>> u, b = jnp.ones((3, 1)), jnp.ones((3, 2))
    >>> rates = jnp.log(jnp.array([[1.0, 2.0]]))  # decays of 1 and 1/2
    >>> y, last = selective_scan(u, u, rates, b, b, jnp.zeros((1, 2)))
    >>> print(y[:, 0], last)
    [2.   3.5  4.75] [[3.   1.75]]
    """
    axis = time_axis(u, dt, b, c, reset)
    u, dt, rates, b, c, h0, reset_state, reset = match_varying(
        (u, dt, rates, b, c, h0, reset_state, reset)
    )
    inputs = _input_term(u, dt)

    @jax.checkpoint
    def add(y, state):
        rate, b, c, h0, *restored = state
        a = jnp.exp(-dt * jnp.broadcast_to(rate, dt.shape))
        b = inputs * b[..., None]
        if restored:
            b = jnp.where(reset[..., None], b + a * jnp.broadcast_to(restored[0], a.shape), b)
        h = linear_scan(a, b, h0, reset=reset, backend=backend)
        return y + h * c[..., None], h0 if h.size == 0 else h[..., -1, :]

    restored = () if reset is None or reset_state is None else (reset_state,)
    states = tuple(jnp.moveaxis(x, -1, 0) for x in (rates, b, c, h0, *restored))
    y, last = lax.scan(add, jnp.zeros_like(dt), states)
    last = jnp.moveaxis(last, 0, -1)
    return y, last if axis is None or not y.size else from_last(last, axis)


def _input_term(u, dt):
    return dt * u.astype(dt.dtype)


def _dt_bias(key, features):
    """Returns the inverse softplus of step sizes that are drawn log-uniformly."""
    low, high = map(math.log, DT_RANGE)
    dt = jnp.exp(jax.random.uniform(key, (features,), minval=low, maxval=high))
    return dt + jnp.log(-jnp.expm1(-dt))
