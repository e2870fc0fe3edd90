"""A dense layer under the contract of cells."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from rnnlab.call_arguments import BatchShape
from rnnlab.dtypes import compute_dtype
from rnnlab.recurrent import Recurrent, dense
from rnnlab.validation import require_positive_int


class Projection(Recurrent):
    """A dense layer for every time step, without a carry, for a `Stack` of cells.

        y[t] = x[t] W + b

    Args:
      in_features, features: width of the input and of the output.
      rngs: source of the parameters' keys.
      kernel_init, bias_init: initializers of W and b.
      dtype: dtype of the computation; None is `param_dtype`.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: a size is below 1, or a call's shapes or dtypes do not fit.

    >>> from flax import nnx
    >>> from rnnlab import MinGRU, Stack
    >>> rngs = nnx.Rngs(0)
    >>> stack = Stack([MinGRU(3, 8, rngs=rngs), Projection(8, 3, rngs=rngs)])
    >>> stack(jnp.ones((2, 5, 3)))[1].shape
    (2, 5, 3)
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),
        bias_init: nnx.Initializer = nnx.initializers.zeros_init(),
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        require_positive_int(in_features=in_features, features=features)
        self.in_features = in_features
        self.features = features
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        self.kernel = nnx.Param(kernel_init(rngs.params(), (in_features, features), param_dtype))
        self.bias = nnx.Param(bias_init(rngs.params(), (features,), param_dtype))

    def initial_carry(self, batch_shape: BatchShape = ()) -> tuple[()]:
        """Returns (), since nothing is carried."""
        return ()

    def update(self, carry: Any, x: Any) -> tuple[Any, Any]:
        return carry, dense(x, self.kernel[...], self.bias[...], self.dtype)

    def run_sequence(self, carry, xs, reset, mask, key):
        return self.update(carry, xs)
