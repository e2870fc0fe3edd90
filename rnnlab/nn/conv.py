"""A causal convolution over time whose window is a carry."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from rnnlab.cells.inputs import check_size, checked, compute_dtype, zero_masked
from rnnlab.scan.step import state_dtype


class CausalConv(nnx.Module):
    """Depthwise causal convolution with a cell's contract: each feature sees its own last inputs.

        y[t] = bias + sum over k < kernel_size of kernel[k] * x[t-k]

    The carry is the window of the last `kernel_size - 1` inputs, oldest first, zeros at the start.
    A reset cuts the window: nothing from before it is seen after it, NaN included. `mask` must be
    right padding.

    Args:
      features: width of input and output.
      kernel_size: number of taps, at least 1.
      rngs: source of the parameters' keys.
      kernel_init, bias_init: initialisers of `kernel` (kernel_size, features) and `bias`.
      dtype: dtype of products and `ys`; None is `param_dtype`. The carry is float32 or wider.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: kernel_size is below 1, or a call's shapes or dtypes do not fit.

    Source: the Conv4 layer of arXiv 2410.01201, appendix C; the streaming window is that of Mamba,
    arXiv 2312.00752.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> conv = CausalConv(2, 4, rngs=nnx.Rngs(0))
    >>> window, ys = conv(conv.initial_carry(()), jnp.ones((5, 2)))
    >>> window.shape, ys.shape
    ((3, 2), (5, 2))
    """

    def __init__(
        self,
        features: int,
        kernel_size: int = 4,
        *,
        rngs: nnx.Rngs,
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),
        bias_init: nnx.Initializer = nnx.initializers.zeros_init(),
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        check_size(features=features, kernel_size=kernel_size)
        self.in_features = features
        self.features = features
        self.kernel_size = kernel_size
        self.dtype = compute_dtype(dtype, param_dtype)
        self.kernel = nnx.Param(kernel_init(rngs.params(), (kernel_size, features), param_dtype))
        self.bias = nnx.Param(bias_init(rngs.params(), (features,), param_dtype))

    def initial_carry(self, batch_shape: Sequence[int]) -> Float[Array, "*batch window features"]:
        """A window of zeros, (*batch_shape, kernel_size - 1, features), float32 or wider."""
        return jnp.zeros(
            (*batch_shape, self.kernel_size - 1, self.features), state_dtype(self.dtype)
        )

    def __call__(
        self,
        carry: Float[Array, "*batch window features"],
        xs: Float[Array, "*batch time features"],
        *,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
    ) -> tuple[Float[Array, "*batch window features"], Float[Array, "*batch time features"]]:
        """The last window and the outputs of all steps, 0 where masked."""
        carry, xs, reset, mask = checked(self, carry, xs, reset, mask, time=True)
        window, length = self.kernel_size - 1, xs.shape[-2]
        # Inputs and their segment numbers, the carried ones in front, which belong to segment 0.
        inputs = jnp.concatenate([carry, xs.astype(carry.dtype)], -2)
        segment = None
        if reset is not None:
            number = jnp.cumsum(reset, -1, dtype=jnp.int32)
            before = jnp.zeros((*number.shape[:-1], window), jnp.int32)
            segment = jnp.concatenate([before, number], -1)

        def lagged(k):
            taken = slice(window - k, window - k + length)
            x = inputs[..., taken, :].astype(self.dtype)
            if segment is None:
                return x
            same = segment[..., taken] == segment[..., window:]
            return jnp.where(jnp.expand_dims(same, -1), x, 0)

        ys = self._weighted([lagged(k) for k in range(self.kernel_size)])
        # The window ends with the last real input, which padding follows.
        end = jnp.full((*xs.shape[:-2], 1), length, jnp.int32)
        if mask is not None:
            end = jnp.sum(mask, -1, keepdims=True, dtype=jnp.int32)
        taken = end + jnp.arange(window, dtype=jnp.int32).reshape((1,) * (xs.ndim - 2) + (-1,))
        carry = jnp.take_along_axis(inputs, jnp.expand_dims(taken, -1), axis=-2)
        if segment is not None:
            current = jnp.sum(reset, -1, keepdims=True, dtype=jnp.int32)
            same = jnp.take_along_axis(segment, taken, axis=-1) == current
            carry = jnp.where(jnp.expand_dims(same, -1), carry, 0)
        return carry, zero_masked(ys, mask)

    def step(
        self,
        carry: Float[Array, "*batch window features"],
        x: Float[Array, "*batch features"],
        *,
        reset: Bool[Array, "*batch"] | None = None,
        mask: Bool[Array, "*batch"] | None = None,
    ) -> tuple[Float[Array, "*batch window features"], Float[Array, "*batch features"]]:
        """One step."""
        carry, x, reset, mask = checked(self, carry, x, reset, mask, time=False)
        if reset is not None:
            carry = jnp.where(reset[..., None, None], 0, carry)
        inputs = jnp.concatenate([carry, x.astype(carry.dtype)[..., None, :]], -2)
        last = self.kernel_size - 1
        y = self._weighted(
            [inputs[..., last - k, :].astype(self.dtype) for k in range(self.kernel_size)]
        )
        moved = inputs[..., 1:, :]
        carry = moved if mask is None else jnp.where(mask[..., None, None], moved, carry)
        return carry, zero_masked(y, mask)

    def _weighted(self, lagged: list[Array]) -> Array:
        shape = lagged[0].shape
        y = jnp.broadcast_to(self.bias[...].astype(self.dtype), shape)
        for tap, x in zip(self.kernel[...].astype(self.dtype), lagged, strict=True):
            y = y + jnp.broadcast_to(tap, shape) * x
        return y
