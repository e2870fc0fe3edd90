"""Values that fade towards their mean the longer they have not been observed."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from rnnlab.call_arguments import BatchShape
from rnnlab.dtypes import compute_dtype
from rnnlab.recurrent import Recurrent
from rnnlab.scan.varying import broadcast_like
from rnnlab.validation import require_positive_int


class InputDecay(Recurrent):
    """The input decay of GRU-D, a layer without a carry.

    Its inputs are, for n variables, n values, n flags and n ages, then any others:

        decay[t] = exp(-max(0, rate * age[t] + bias))
        value[t] = value[t] where observed, else decay[t] * value[t]

    A value is the last one that was observed, standardized, so that its mean is 0. A flag is 1
    where the variable is observed at this time step, else 0. An age is the time since it was
    observed, in any unit that grows with time, such as a logarithm. All else passes unchanged.

    Args:
      num_variables: n.
      in_features: number of inputs, at least 3 n; also that of the outputs.
      dtype: dtype of the outputs; None is `param_dtype`.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: there are fewer inputs than 3 n, or the shapes or dtypes of a call do not fit.

    Source: Che et al., arXiv 1606.01865, equations 10 and 11.

    >>> layer = InputDecay(1, 3)
    >>> value, flag, age = 2.0, 0.0, 5.0
    >>> carry, ys = layer(jnp.array([[[value, flag, age]]]))
    >>> print(ys.round(3))  # as initialized, with rate 0.1
    [[[1.213 0.    5.   ]]]
    """

    def __init__(
        self,
        num_variables: int,
        in_features: int,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        require_positive_int(num_variables=num_variables, in_features=in_features)
        if in_features < 3 * num_variables:
            raise ValueError(
                f"in_features must be >= {3 * num_variables}: a value, a flag and an age for each "
                f"of num_variables {num_variables}; got {in_features}"
            )
        self.num_variables = num_variables
        self.in_features = in_features
        self.features = in_features
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        rate = jnp.full((num_variables,), 0.1, param_dtype)
        self.rate = nnx.Param(rate, weight_decay=False)
        self.bias = nnx.Param(jnp.zeros((num_variables,), param_dtype), weight_decay=False)

    def initial_carry(self, batch_shape: BatchShape = ()) -> tuple[()]:
        """Returns (), since nothing is carried."""
        return ()

    def update(self, carry: tuple[()], x: Array) -> tuple[tuple[()], Array]:
        n = self.num_variables
        x = x.astype(self.dtype)
        value, observed, age, others = jnp.split(x, [n, 2 * n, 3 * n], axis=-1)
        parameters = self.rate[...], self.bias[...]
        rate, bias = (broadcast_like(p.astype(self.dtype), age) for p in parameters)
        faded = jnp.exp(-jax.nn.relu(rate * age + bias)) * value
        value = jnp.where(observed > 0.5, value, faded)
        return carry, jnp.concatenate([value, observed, age, others], -1)

    def run_sequence(self, carry, xs, reset, mask, key):
        return self.update(carry, xs)
