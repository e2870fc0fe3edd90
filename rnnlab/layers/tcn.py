"""The residual block of a temporal convolutional network (TCN), under the cell contract."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from rnnlab.call_arguments import BatchShape
from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.layers.dropout import DropoutLayer
from rnnlab.layers.window import WindowLayer, causal_taps, entering_window, push_window
from rnnlab.recurrent import dense
from rnnlab.validation import require_positive_int


class DilatedConv(WindowLayer):
    """Dilated dense causal convolution with a weight-normalized kernel.

        y[t] = bias + sum over k < kernel_size of x[t - k dilation] W[k]
        W = scale * kernel / norm(kernel)

    The norm of an output feature is that over its taps and inputs.

    The carry is the window of the last `(kernel_size - 1) * dilation` inputs. A reset clears it.
    `mask` must be right padding.

    Args:
      width: width of input and output.
      kernel_size: number of taps.
      dilation: time steps from one tap to the next.
      rngs: source of the parameters' keys.
      kernel_init: initializer of `kernel` (kernel_size, width, width); `scale` starts as its norm.
      dtype: dtype of products and `ys`; None means `param_dtype`. The carry is float32 or wider.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: a size is below 1, or the shapes or dtypes of a call do not fit.

    Source: arXiv 1803.01271, section 3.2; weight normalization of arXiv 1602.07868.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> conv = DilatedConv(2, 3, 4, rngs=nnx.Rngs(0))
    >>> window, ys = conv(conv.initial_carry(()), jnp.ones((5, 2)))
    >>> window.shape, ys.shape
    ((8, 2), (5, 2))
    """

    def __init__(
        self,
        width: int,
        kernel_size: int,
        dilation: int,
        *,
        rngs: nnx.Rngs,
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        require_positive_int(width=width, kernel_size=kernel_size, dilation=dilation)
        self.in_features = width
        self.features = width
        self.width = width
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.lags = tuple(k * dilation for k in range(kernel_size))
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        kernel = kernel_init(rngs.params(), (kernel_size, width, width), param_dtype)
        self.kernel = nnx.Param(kernel)
        self.scale = nnx.Param(jnp.sqrt(jnp.sum(jnp.square(kernel), (0, 1))))
        self.bias = nnx.Param(jnp.zeros((width,), param_dtype))

    def initial_carry(self, batch_shape: BatchShape = ()) -> Float[Array, "*batch window width"]:
        """Returns a window of zeros, float32 or wider."""
        return jnp.zeros(
            (*batch_shape, self.lags[-1], self.features), accumulation_dtype(self.dtype)
        )

    def run_sequence(self, window, xs, reset, mask, key):
        window = entering_window(window, xs, reset=reset)
        taps = jnp.concatenate(causal_taps(window, xs, self.lags, reset=reset), -1)
        kernel = self.kernel[...].astype(window.dtype)
        norm = jnp.sqrt(jnp.sum(jnp.square(kernel), (0, 1), keepdims=True))
        kernel = kernel / norm * self.scale[...].astype(window.dtype)[None, None]
        flat = kernel.reshape(len(self.lags) * self.in_features, self.features)
        ys = dense(taps, flat, self.bias[...], self.dtype)
        return push_window(window, xs, reset=reset, mask=mask), ys


class TemporalBlockCarry(NamedTuple):
    """Carry of a temporal block: the windows of its two convolutions."""

    first: Float[Array, "*batch window width"]
    second: Float[Array, "*batch window width"]


class TemporalBlock(DropoutLayer):
    """A residual branch of two dilated causal convolutions.

        f(x, conv) = dropout(relu(conv(x)))
        y = relu(x + f(f(x, first), second))

    The receptive field is `1 + 2 (kernel_size - 1) dilation` time steps, that of a stack of blocks
    `1 + 2 (kernel_size - 1) (sum of their dilations)`. The paper doubles the dilation from block
    to block. The block fulfills the cell contract; `mask` must be right padding.

    Args:
      width: width of input and output.
      rngs: source of the parameters' keys.
      kernel_size: taps of each convolution.
      dilation: time steps from one tap to the next.
      dropout: dropout rate after each convolution; see `rnnlab.layers.Dropout` for its keys.
      dtype: dtype of the computation; None means `param_dtype`. Carries are float32 or wider.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: an option is out of range, or the shapes or dtypes of a call do not fit.

    Source: arXiv 1803.01271, section 3.3 and figure 1b.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> block = TemporalBlock(8, rngs=nnx.Rngs(0), kernel_size=3, dilation=2)
    >>> carry, ys = block(block.initial_carry((2,)), jnp.ones((2, 5, 8)))
    >>> carry.first.shape, ys.shape
    ((2, 4, 8), (2, 5, 8))
    """

    def __init__(
        self,
        width: int,
        *,
        rngs: nnx.Rngs,
        kernel_size: int = 3,
        dilation: int = 1,
        dropout: float = 0.0,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        super().__init__(dropout, rngs)
        self.in_features = width
        self.features = width
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        options = {"rngs": rngs, "dtype": self.dtype, "param_dtype": param_dtype}
        self.first = DilatedConv(width, kernel_size, dilation, **options)
        self.second = DilatedConv(width, kernel_size, dilation, **options)

    @property
    def width(self) -> int:
        """Width of input and output."""
        return self.features

    def initial_carry(self, batch_shape: BatchShape = ()) -> TemporalBlockCarry:
        """Returns the empty windows of both convolutions."""
        return TemporalBlockCarry(
            self.first.initial_carry(batch_shape), self.second.initial_carry(batch_shape)
        )

    def run_sequence(self, carry, xs, reset, mask, key):
        return self._run(self.first, self.second, carry, xs, key, reset=reset, mask=mask)

    def run_step(self, carry, x, reset, mask, key):
        convs = self.first.step, self.second.step
        return self._run(*convs, carry, x, key, reset=reset, mask=mask)

    def _run(self, first, second, carry, x, key, **flags):
        key = self.dropout_key(key)
        keys = (None, None) if key is None else jax.random.split(key)
        x = y = x.astype(self.dtype)
        windows = []
        for conv, window, conv_key in zip((first, second), carry, keys, strict=True):
            window, y = conv(window, y, **flags)
            windows.append(window)
            y = self.drop(_relu(y), conv_key)
        return TemporalBlockCarry(*windows), _relu(x + y)


def _relu(x):
    """ReLU that passes NaN forward and backward; the gradient of `jax.nn.relu` hides it."""
    return jnp.where(x <= 0, 0, x)
