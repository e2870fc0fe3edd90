"""A layer that returns the attention-weighted mean of all time steps so far."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

from rnnlab.call_arguments import BatchShape
from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.recurrent import Recurrent, dense
from rnnlab.scan import linear_scan
from rnnlab.scan.backends.associative import scan_elements
from rnnlab.scan.composition import compose_all
from rnnlab.scan.time_shards import entering, is_first, last_step, time_axis
from rnnlab.scan.varying import match_varying
from rnnlab.validation import require_positive_int

LOWEST = -1e30
"""The highest score of no time step: finite, so that differences of two are not NaN."""


class PoolingCarry(NamedTuple):
    """The carry of `AttentionPooling`, relative to exp(highest).

    Attributes:
      sums: (*batch, features + 1), the weighted sum of each feature and the sum of the weights.
      highest: (*batch, 1), the highest score so far, `LOWEST` before the first time step.
    """

    sums: Float[Array, "*batch sums"]
    highest: Float[Array, "*batch 1"]


class AttentionPooling(Recurrent):
    """Attention of one learned query over the time steps so far, under the cell contract.

        s[t] = query . tanh(kernel x[t] + bias)
        y[t] = (exp(s[1]) x[1] + ... + exp(s[t]) x[t]) / (exp(s[1]) + ... + exp(s[t]))

    The last output is the attention over the sequence, without padding. The query does not depend
    on the time step, so the carry has a constant size: numerator and denominator are one linear
    recurrence, which is rescaled where a score exceeds the highest one before it. No weight
    overflows. A reset clears the carry. The query starts at 0: the layer starts as the mean.

    Args:
      features: width of input and output.
      rngs: source of the keys of the parameters.
      dtype: dtype of `ys`; None is `param_dtype`. Scores and carry are float32 or wider.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: a call's shapes or dtypes do not fit.

    Source: Yang et al., "Hierarchical Attention Networks for Document Classification" (2016),
    equations 5 to 7, for the scores; Milakov and Gimelshein, arXiv 1805.02867, for the running
    maximum.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> pooling = AttentionPooling(1, rngs=nnx.Rngs(0))
    >>> _, ys = pooling(jnp.array([[1.0], [3.0], [8.0]]))  # the query is 0
    >>> ys[:, 0].tolist()
    [1.0, 2.0, 4.0]
    """

    def __init__(
        self,
        features: int,
        *,
        rngs: nnx.Rngs,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        require_positive_int(features=features)
        self.in_features = features
        self.features = features
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        init = nnx.initializers.lecun_normal()
        self.kernel = nnx.Param(init(rngs.params(), (features, features), param_dtype))
        self.bias = nnx.Param(jnp.zeros((features,), param_dtype))
        self.query = nnx.Param(jnp.zeros((features,), param_dtype))

    def initial_carry(self, batch_shape: BatchShape = ()) -> PoolingCarry:
        """Returns sums of 0 and the lowest score, float32 or wider."""
        dtype = accumulation_dtype(self.dtype)
        return PoolingCarry(
            jnp.zeros((*batch_shape, self.features + 1), dtype),
            jnp.full((*batch_shape, 1), LOWEST, dtype),
        )

    def run_sequence(self, carry, xs, reset, mask, key):
        if not xs.shape[-2]:
            return carry, xs.astype(self.dtype)
        scores = self._scores(xs, mask)
        start = _entering_maximum(carry.highest, scores, reset)
        highest = _running_maximum(start, scores, reset)
        before = jnp.concatenate([start[..., None, :], highest[..., :-1, :]], -2)
        # Where a reset lowers the maximum, linear_scan does not read the decay.
        decay = jnp.exp(jnp.minimum(before - highest, 0))
        terms = self._terms(xs, scores, highest, mask)
        sums = linear_scan(jnp.broadcast_to(decay, terms.shape), terms, carry.sums, reset=reset)
        return PoolingCarry(last_step(sums), last_step(highest)), self._mean(sums)

    def run_step(self, carry, x, reset, mask, key):
        if reset is not None:
            flag = jnp.expand_dims(reset, -1)
            carry = PoolingCarry(
                jnp.where(flag, 0, carry.sums), jnp.where(flag, LOWEST, carry.highest)
            )
        scores = self._scores(x, mask)
        highest = lax.stop_gradient(jnp.maximum(carry.highest, scores))
        decay = jnp.exp(carry.highest - highest)
        sums = decay * carry.sums + self._terms(x, scores, highest, mask)
        return PoolingCarry(sums, highest), self._mean(sums)

    def attention(self, xs: Float[Array, "*batch time features"]) -> Float[Array, "*batch time"]:
        """Returns the weights, of sum 1, that the last output gives to the time steps.

        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> AttentionPooling(1, rngs=nnx.Rngs(0)).attention(jnp.array([[1.0], [3.0]])).tolist()
        [0.5, 0.5]
        """
        return jax.nn.softmax(self._scores(jnp.asarray(xs), None)[..., 0], -1)

    def _scores(self, x: Array, mask: Array | None) -> Array:
        """Returns the score of each time step, `LOWEST` in padding, with one feature."""
        dtype = accumulation_dtype(self.dtype)
        keys = jnp.tanh(dense(x, self.kernel[...], self.bias[...], dtype))
        scores = dense(keys, self.query[...][:, None], None, dtype)
        return scores if mask is None else jnp.where(jnp.expand_dims(mask, -1), scores, LOWEST)

    def _terms(self, x: Array, scores: Array, highest: Array, mask: Array | None) -> Array:
        """Returns the weighted features and the weight of each time step, 0 in padding."""
        weights = jnp.exp(scores - highest)
        if mask is not None:
            weights = jnp.where(jnp.expand_dims(mask, -1), weights, 0)
        return jnp.concatenate([weights * x.astype(weights.dtype), weights], -1)

    def _mean(self, sums: Array) -> Array:
        total = sums[..., -1:]
        return (sums[..., :-1] / jnp.where(total > 0, total, 1)).astype(self.dtype)


class _MaximumMap(NamedTuple):
    """The map `highest -> max(highest, b)` of time steps, or `b` after a reset; see `AffineMap`."""

    b: Array
    reset: Array | None = None

    def __call__(self, highest: Array) -> Array:
        joint = jnp.maximum(highest, self.b)
        return joint if self.reset is None else jnp.where(self.reset, self.b, joint)

    def after(self, earlier: "_MaximumMap") -> "_MaximumMap":
        reset = None if self.reset is None else earlier.reset | self.reset
        return _MaximumMap(self(earlier.b), reset)

    @classmethod
    def identity(cls, highest: Array, reset: Array | None) -> "_MaximumMap":
        return cls(jnp.full_like(highest, LOWEST), reset)


def _entering_maximum(start: Array, scores: Array, reset: Array | None) -> Array:
    """Returns the highest score before this device's time steps, `start` for whole sequences."""
    axis = time_axis(scores, reset)
    if axis is None:
        return start
    start, scores = match_varying(lax.stop_gradient((start, scores)))
    arrays = scores, None if reset is None else jnp.expand_dims(reset, -1)
    steps = compose_all(
        _MaximumMap.identity,
        lambda constants, scores, reset: _MaximumMap(scores, reset),
        arrays,
        start,
        False,
        "auto",
    )
    first = is_first(axis)
    steps = steps._replace(b=jnp.where(first, steps(start), steps.b))
    return jnp.where(first, start, entering(steps, axis, reverse=False)[0])


def _running_maximum(start: Array, scores: Array, reset: Array | None) -> Array:
    """Returns the highest score up to each time step since the last reset, without gradients.

    The outputs do not depend on it: it scales numerator and denominator alike.
    """
    start, scores = lax.stop_gradient((start, scores))
    first = jnp.maximum(start, scores[..., 0, :])
    if reset is None:
        scores = scores.at[..., 0, :].set(first)
        return lax.cummax(scores, scores.ndim - 2)
    reset = jnp.expand_dims(reset, -1)
    scores = scores.at[..., 0, :].set(jnp.where(reset[..., 0, :], scores[..., 0, :], first))

    def combine(left, right):
        (left_reset, left_highest), (right_reset, right_highest) = left, right
        highest = jnp.where(right_reset, right_highest, jnp.maximum(left_highest, right_highest))
        return left_reset | right_reset, highest

    return scan_elements(combine, (reset, scores), reverse=False, axis=scores.ndim - 2)[1]
