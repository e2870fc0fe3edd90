"""RG-LRU: the real-gated linear recurrent unit of Griffin."""

from dataclasses import dataclass
from typing import Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from rnnlab.cells.block_diagonal import block_dense, draw_blocks, require_heads
from rnnlab.cells.linear import LinearCell, LinearCellOptions
from rnnlab.recurrent import dense

SHARPNESS = 8.0
"""The paper's c: the decay of an open gate is the initial radius to this power."""
RADIUS_RANGE = (0.9, 0.999)
"""Range of the radius at initialization, whose square is uniform."""
MAX_SLOPE = 1000.0
"""Largest slope of the square root, which is infinite at 0."""


@dataclass(frozen=True)
class RGLRUCoefficients:
    """Coefficients of `h = a h + b` from the pre-activations of both gates and the gated input.

        r = sigmoid(recurrence),  i = sigmoid(input),  log a = -8 r softplus(rate)
        b = sqrt(1 - a^2) i u

    Pointwise and hashed by value, as `rnnlab.gated_scan` needs.

    >>> import jax.numpy as jnp
    >>> a, b = RGLRUCoefficients()(jnp.zeros(1), jnp.zeros(1), jnp.ones(1), jnp.full(1, -2.0))
    >>> print(f"{a[0]:.3f} {b[0]:.3f}")
    0.602 0.399
    """

    def __call__(
        self, recurrence: Array, input: Array, u: Array, rate: Array
    ) -> tuple[Array, Array]:
        log_a = -SHARPNESS * jax.nn.sigmoid(recurrence) * jax.nn.softplus(rate)
        scale = _sqrt(-jnp.expm1(2 * log_a))
        return jnp.exp(log_a), scale * jax.nn.sigmoid(input) * u


@jax.custom_jvp
def _sqrt(x: Array) -> Array:
    """Returns the square root, with a slope of at most `MAX_SLOPE`."""
    return jnp.sqrt(x)


@_sqrt.defjvp
def _sqrt_jvp(primals, tangents):
    y = jnp.sqrt(primals[0])
    return y, tangents[0] / jnp.maximum(2 * y, 1 / MAX_SLOPE)


class RGLRU(LinearCell):
    """RG-LRU. Trains in parallel over time and streams with one state of `features` numbers.

        u[t] = x[t] W
        r[t] = sigmoid(u[t] Wr + br),  i[t] = sigmoid(u[t] Wi + bi)     within heads
        a[t] = exp(-8 r[t] softplus(rate))
        h[t] = a[t] h[t-1] + sqrt(1 - a[t]^2) i[t] u[t],   y[t] = h[t]

    The paper's layer has a causal convolution after the projection W; here it is the block's, in
    front of the cell.

    Args:
      in_features, features: width of the input and of the state.
      rngs: source of the parameters' keys.
      heads: number of blocks of the gates' kernels; it divides `features`.
      learn_initial_state, initial_state_init: as in `LinearCell`.
      kernel_init, bias_init: initializers of the projection and of the gates.
      dtype: dtype of the projections and of `ys`; None is `param_dtype`. Gates and carry are
        float32 (float64 where dtype is), so that cutting a sequence never changes them.
      param_dtype: dtype of the parameters.
      backend: backend of the scan; see `rnnlab.linear_scan`.

    Raises:
      ValueError: an option is unknown, or a call's shapes or dtypes do not fit.

    Source: arXiv 2402.19427, section 2.4. The authors' code replaces the square root by 1 at the
    first step of a sequence, where the state is zeros. Here it never is: a sequence that is cut
    anywhere then has the same states.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> cell = RGLRU(3, 8, heads=2, rngs=nnx.Rngs(0))
    >>> carry, ys = cell(cell.initial_carry((2,)), jnp.ones((2, 5, 3)))
    >>> carry.shape, ys.shape
    ((2, 8), (2, 5, 8))
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        heads: int = 1,
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),
        bias_init: nnx.Initializer = nnx.initializers.zeros_init(),
        **options: Unpack[LinearCellOptions],
    ):
        super().__init__(in_features, features, rngs=rngs, **options)
        require_heads(features, heads)
        self.heads = heads
        kernel = kernel_init(rngs.params(), (in_features, features), self.param_dtype)
        self.input_kernel = nnx.Param(kernel)
        shape = (features // heads, features // heads)
        for gate in ("recurrence", "input"):
            blocks = draw_blocks(kernel_init, rngs, heads, shape, self.param_dtype)
            setattr(self, f"{gate}_gate_kernel", nnx.Param(blocks, weight_decay="gates"))
            bias = bias_init(rngs.params(), (features,), self.param_dtype)
            setattr(self, f"{gate}_gate_bias", nnx.Param(bias))
        rate = _rates(rngs.params(), features).astype(self.param_dtype)
        self.rate = nnx.Param(rate, weight_decay=False)

    @property
    def coefficients(self) -> RGLRUCoefficients:
        """The pointwise function from the pre-activations and the rates to (a, b)."""
        return RGLRUCoefficients()

    def preactivations(
        self, inputs: Float[Array, "*batch in_features"]
    ) -> list[Float[Array, "*batch features"]]:
        """Returns the pre-activations of the recurrence and the input gate, and the input."""
        u = dense(inputs, self.input_kernel[...], None, self.dtype)
        return [
            block_dense(
                u, self.recurrence_gate_kernel[...], self.recurrence_gate_bias[...], self.dtype
            ),
            block_dense(u, self.input_gate_kernel[...], self.input_gate_bias[...], self.dtype),
            u,
        ]

    def operands(self) -> tuple[Float[Array, " features"]]:
        """Returns the rates."""
        return (self.rate[...],)


def _rates(key: Array, features: int) -> Array:
    """Returns rates whose softplus is minus the log of the drawn radii."""
    low, high = RADIUS_RANGE
    square = jax.random.uniform(key, (features,), minval=low**2, maxval=high**2)
    return jnp.log(jnp.expm1(-0.5 * jnp.log(square)))
