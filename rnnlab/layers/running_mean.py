"""A layer that returns the mean of all time steps so far."""

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from rnnlab.call_arguments import BatchShape
from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.recurrent import Recurrent
from rnnlab.scan import linear_scan
from rnnlab.scan.time_shards import last_step
from rnnlab.validation import require_positive_int


class RunningMean(Recurrent):
    """Mean over the time steps of a sequence up to the current one, under the cell contract.

        y[t] = (x[1] + ... + x[t]) / t

    The last output is the mean over the sequence, without padding. The carry holds the sum of each
    feature and, as its last entry, the number of steps: (*batch, features + 1). A reset clears it.

    Args:
      features: width of input and output.
      dtype: dtype of `ys`. The carry is float32 or wider.

    Raises:
      ValueError: a call's shapes or dtypes do not fit.

    >>> import jax.numpy as jnp
    >>> mean = RunningMean(1)
    >>> _, ys = mean(mean.initial_carry(()), jnp.array([[1.0], [3.0], [8.0]]))
    >>> ys[:, 0].tolist()
    [1.0, 2.0, 4.0]
    """

    def __init__(self, features: int, *, dtype: DTypeLike = jnp.float32):
        require_positive_int(features=features)
        self.in_features = features
        self.features = features
        self.dtype = compute_dtype(dtype, dtype)

    def initial_carry(self, batch_shape: BatchShape = ()) -> Float[Array, "*batch sums"]:
        """Returns zeros, float32 or wider."""
        return jnp.zeros((*batch_shape, self.features + 1), accumulation_dtype(self.dtype))

    def run_sequence(self, carry, xs, reset, mask, key):
        terms = self._with_count(carry, xs, mask)
        sums = linear_scan(jnp.ones_like(terms), terms, carry, reset=reset)
        return (last_step(sums) if xs.shape[-2] else carry), self._mean(sums)

    def run_step(self, carry, x, reset, mask, key):
        if reset is not None:
            carry = jnp.where(jnp.expand_dims(reset, -1), 0, carry)
        carry = carry + self._with_count(carry, x, mask)
        return carry, self._mean(carry)

    def _with_count(self, carry: Array, x: Array, mask: Array | None) -> Array:
        """Appends the count of each step, 0 in padding, to the inputs, which are 0 there."""
        count = jnp.ones(x.shape[:-1], carry.dtype) if mask is None else mask.astype(carry.dtype)
        return jnp.concatenate([x.astype(carry.dtype), jnp.expand_dims(count, -1)], -1)

    def _mean(self, sums: Array) -> Array:
        return (sums[..., :-1] / jnp.maximum(sums[..., -1:], 1)).astype(self.dtype)
