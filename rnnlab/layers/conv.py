"""A causal convolution over time; its carry is the window of the last inputs."""

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from rnnlab.call_arguments import BatchShape
from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.layers.window import WindowLayer, causal_taps, entering_window, push_window
from rnnlab.scan.varying import broadcast_like
from rnnlab.validation import require_positive_int


class CausalConv(WindowLayer):
    """Depthwise causal convolution under the cell contract.

        y[t] = bias + sum over k < kernel_size of kernel[k] * x[t-k]

    Each feature reads only its own inputs. The carry is the window of the last `kernel_size - 1`
    inputs, oldest first, zeros at the start. A reset clears the window, NaN included. `mask` must
    be right padding.

    Args:
      features: width of input and output.
      kernel_size: number of taps, >= 1.
      rngs: source of the parameters' keys.
      kernel_init, bias_init: initializers of `kernel` (kernel_size, features) and `bias`.
      dtype: dtype of products and `ys`; None means `param_dtype`. The carry is float32 or wider.
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
        require_positive_int(features=features, kernel_size=kernel_size)
        self.in_features = features
        self.features = features
        self.kernel_size = kernel_size
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        self.kernel = nnx.Param(kernel_init(rngs.params(), (kernel_size, features), param_dtype))
        self.bias = nnx.Param(bias_init(rngs.params(), (features,), param_dtype))

    def initial_carry(self, batch_shape: BatchShape = ()) -> Float[Array, "*batch window features"]:
        """Returns zeros of shape (*batch_shape, kernel_size - 1, features), float32 or wider."""
        return jnp.zeros(
            (*batch_shape, self.kernel_size - 1, self.features), accumulation_dtype(self.dtype)
        )

    def run_sequence(self, window, xs, reset, mask, key):
        window = entering_window(window, xs, reset=reset)
        taps = causal_taps(window, xs, range(self.kernel_size), reset=reset)
        y = broadcast_like(self.bias[...].astype(self.dtype), xs)
        for weight, x in zip(self.kernel[...].astype(self.dtype), taps, strict=True):
            y = y + broadcast_like(weight, xs) * x.astype(self.dtype)
        return push_window(window, xs, reset=reset, mask=mask), y
