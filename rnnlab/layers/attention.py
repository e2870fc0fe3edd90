"""Causal self-attention over a sliding window, under the cell contract."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from rnnlab.call_arguments import BatchShape
from rnnlab.call_validation import validate_call
from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.layers.window import WindowLayer, entering_window, push_window, segment_ids
from rnnlab.scan.time_shards import time_axis
from rnnlab.scan.varying import match_varying
from rnnlab.validation import require_positive_int

ROPE_BASE = 10_000


class AttentionCarry(NamedTuple):
    """The last keys (before rotation) and values, oldest first; `valid` is 1 if stored."""

    keys: Float[Array, "*batch positions features"]
    values: Float[Array, "*batch positions features"]
    valid: Float[Array, "*batch positions"]


class Attention(WindowLayer):
    """Causal multi-head self-attention with rotary positions over the last `window` time steps.

        q[t], k[t], v[t] = x[t] W
        w[t, s] = softmax over s of apply_rope(q[t], t) . apply_rope(k[s], s) / sqrt(d)
        y[t] = sum over s of w[t, s] v[s],   t - window < s <= t

    for each head of d features. s is in the segment of t: a reset starts a segment.

    The carry is an `AttentionCarry` of the last `window - 1` keys and values. A step does not
    attend to steps before a reset, even if they are NaN. `mask` must be right padding. The layer
    has no output projection: inside a `Block`, the block's `project` takes that role. Scores are
    computed in float32 or wider; `jax.nn.dot_product_attention` computes the softmax in float32
    even where dtype is float64. A call scores all pairs of its steps, so its memory grows with the
    square of the length.

    Args:
      in_features, features: width of the input, and of all heads together.
      rngs: source of the parameters' keys.
      heads: number of heads; features must be a multiple of 2 * heads.
      window: number of steps that a step attends to, including itself.
      kernel_init: initializer of `kernel` (in_features, 3 * features).
      dtype: dtype of products and `ys`; None means `param_dtype`. The carry is float32 or wider.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: features is not a multiple of 2 * heads, a size is below 1, or the shapes or
        dtypes of a call do not fit.

    Source: arXiv 1706.03762, section 3.2; rotary positions of arXiv 2104.09864, section 3.2. The
    paper rotates neighboring features; here feature j is paired with j + d/2, which is equivalent
    up to the order of features.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> layer = Attention(3, 8, rngs=nnx.Rngs(0), heads=2, window=6)
    >>> carry, ys = layer(layer.initial_carry((2,)), jnp.ones((2, 4, 3)))
    >>> carry.keys.shape, carry.valid[0].tolist(), ys.shape
    ((2, 5, 8), [0.0, 1.0, 1.0, 1.0, 1.0], (2, 4, 8))
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        heads: int = 4,
        window: int = 256,
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        require_positive_int(in_features=in_features, features=features, heads=heads, window=window)
        if features % (2 * heads):
            raise ValueError(
                f"features must be a multiple of {2 * heads} (an even number for each of {heads} "
                f"heads), got {features}"
            )
        self.in_features = in_features
        self.features = features
        self.heads = heads
        self.window = window
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        kernel = kernel_init(rngs.params(), (in_features, 3 * features), param_dtype)
        self.kernel = nnx.Param(kernel)

    def initial_carry(self, batch_shape: BatchShape = ()) -> AttentionCarry:
        """Returns an empty window: zeros of (*batch_shape, window - 1, ...), float32 or wider."""
        shape, dtype = (*batch_shape, self.window - 1), accumulation_dtype(self.dtype)
        return AttentionCarry(
            jnp.zeros((*shape, self.features), dtype),
            jnp.zeros((*shape, self.features), dtype),
            jnp.zeros(shape, dtype),
        )

    def run_sequence(self, carry, xs, reset, mask, key):
        return _flatten_batch(self._attend, xs.shape[:-2], carry, xs, reset, mask)

    def weights(
        self,
        carry: AttentionCarry,
        xs: Float[Array, "*batch time in_features"],
        *,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
    ) -> Float[Array, "*batch heads time positions"]:
        """Returns the attention weights `w[t, s]` of each head, 0 at masked time steps.

        The first `window - 1` positions are the steps of the carry, the rest those of the call.
        """
        carry, xs, reset, mask = validate_call(self, carry, xs, reset, mask, time=True)

        def flat_weights(carry, xs, reset):
            queries, new, segments = self._project(carry, xs, reset)
            carry = _entering(carry, new, reset)
            seen = _append(carry, new)
            visible = _attention_mask(seen.valid, segments, xs.shape[1], self.window)
            q, k = _rotate_heads(queries, seen.keys, self.heads)
            scores = jnp.einsum("bthd,bshd->bhts", q, k) / math.sqrt(q.shape[-1])
            return jax.nn.softmax(jnp.where(jnp.expand_dims(visible, 1), scores, -jnp.inf))

        weights = _flatten_batch(flat_weights, xs.shape[:-2], carry, xs, reset)
        return weights if mask is None else jnp.where(mask[..., None, :, None], weights, 0)

    def _project(self, carry, xs, reset):
        """Queries, the new carry entries, and the segment ids of the carried and new steps."""
        batch, length, _ = xs.shape
        flat = xs.astype(self.dtype).reshape(batch * length, self.in_features)
        projected = (flat @ self.kernel[...].astype(self.dtype)).reshape(
            batch, length, 3 * self.features
        )
        queries, keys, values = jnp.split(projected, 3, -1)
        new = AttentionCarry(keys, values, jnp.ones((batch, length), carry.valid.dtype))
        if reset is None:
            return queries, new, jnp.zeros((batch, self.window - 1 + length), jnp.int32)
        return queries, new, segment_ids(reset, self.window - 1)

    def _attend(self, carry, xs, reset, mask):
        queries, new, segments = self._project(carry, xs, reset)
        carry = _entering(carry, new, reset)
        # Before the branches: the transpose of a cast is a sum over devices.
        queries, new, segments, carry = match_varying((queries, new, segments, carry))

        # Rematerialized: `cond` would store the residuals of both branches for the backward pass.
        @jax.checkpoint
        def attend(queries, seen, segments):
            return attention(queries, *seen, segments, heads=self.heads, window=self.window)

        # A sequence that starts with an empty window, as in training, skips the carried positions.
        ys = lax.cond(
            jnp.any(carry.valid > 0.5),
            lambda: attend(queries, _append(carry, new), segments),
            lambda: attend(queries, new, segments[:, self.window - 1 :]),
        )

        def push(window, x):
            return push_window(window, x, reset=reset, mask=mask)

        valid = push(carry.valid[..., None], new.valid[..., None])[..., 0]
        keys, values = push(carry.keys, new.keys), push(carry.values, new.values)
        return AttentionCarry(keys, values, valid), ys


def attention(
    queries: Float[Array, "batch time features"],
    keys: Float[Array, "batch positions features"],
    values: Float[Array, "batch positions features"],
    valid: Float[Array, "batch positions"],
    segments: Int[Array, "batch positions"],
    *,
    heads: int,
    window: int,
) -> Float[Array, "batch time features"]:
    """Returns causal attention of the last `time` positions over a sliding window.

    A query attends to a position if it is valid, in the same segment, and at most `window - 1`
    steps earlier. A query that is not finite, or attends to a key or value that is not, gives NaN
    in its output and gradient. NaN reaches no other output, and no other segment's gradient.
    """
    visible = _attention_mask(valid, segments, queries.shape[1], window)
    # Replaced by zeros before any product, since a weight of 0 times NaN is NaN.
    finite = _is_finite(keys) & _is_finite(values)
    has_nan = ~_is_finite(queries) | jnp.any(visible & ~jnp.expand_dims(finite, 1), -1)
    has_nan = jnp.expand_dims(has_nan, -1)
    q = jnp.where(has_nan, 0, queries)
    k, v = (jnp.where(jnp.expand_dims(finite, -1), x, 0) for x in (keys, values))

    q, k = _rotate_heads(q, k, heads)
    v = _split_heads(v, heads)
    # In float32 or wider: JAX's function has no float16 on CPU, and no 16-bit gradients under
    # strict promotion, which also refuses its own mix of float32 and float64.
    with jax.numpy_dtype_promotion("standard"):
        ys = jax.nn.dot_product_attention(q, k, v, mask=jnp.expand_dims(visible, 1))
    ys = _drop_nan_gradients(ys.reshape(queries.shape).astype(queries.dtype))
    # The product passes NaN to the query's own gradient, which would be a silent 0 otherwise.
    nan_or_zero = jnp.where(has_nan, jnp.nan, 0).astype(queries.dtype)
    return jnp.where(has_nan, 0, ys) + nan_or_zero * queries


@jax.custom_vjp
def _drop_nan_gradients(ys):
    """Returns ys; in the backward pass, replaces cotangents that are not finite by 0.

    The gradient with respect to a value is a sum over queries of weight times cotangent. A weight
    of 0 times NaN would carry the NaN of one packed segment to the values of all others.
    """
    return ys


_drop_nan_gradients.defvjp(
    lambda ys: (ys, None),
    lambda _, dys: (jnp.where(jnp.expand_dims(_is_finite(dys), -1), dys, 0),),
)


def apply_rope(
    x: Float[Array, "batch time heads features"], first: int
) -> Float[Array, "batch time heads features"]:
    """Rotates features j and j + d/2 by the angle `position * 10000**(-2 j / d)` (RoPE).

    Positions count from `first`. The dot product of two rotated vectors depends only on the
    difference of their positions.

    Source: arXiv 2104.09864, section 3.2.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([1.0, 0.0]).reshape(1, 1, 1, 2)
    >>> print(apply_rope(x, 1).squeeze().round(4))  # cos 1, sin 1
    [0.5403 0.8415]
    """
    time, half = x.shape[1], x.shape[-1] // 2
    # Angles in units of 2**-32 turns wrap exactly in uint32. In float32 radians, far positions
    # would lose precision, and a step would no longer equal its position in a sequence.
    units = np.round(ROPE_BASE ** (-np.arange(half) / half) / (2 * np.pi) * 2.0**32)
    position = first + jnp.arange(time, dtype=jnp.uint32)
    wrapped = position[:, None] * jnp.asarray(units.astype(np.uint32))[None]
    signed = lax.bitcast_convert_type(wrapped, jnp.int32).astype(x.dtype)
    angle = (signed * (2 * np.pi / 2.0**32)).reshape(1, time, 1, half)
    a, b = x[..., :half], x[..., half:]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def _flatten_batch(f, batch_shape, *trees):
    """Calls `f` with the batch axes of all arrays merged, and restores them in its result."""
    size = math.prod(batch_shape)
    flat = jax.tree.map(lambda x: x.reshape(size, *x.shape[len(batch_shape) :]), trees)
    return jax.tree.map(lambda x: x.reshape(*batch_shape, *x.shape[1:]), f(*flat))


def _entering(carry, new, reset):
    """Returns the carry before the first step of this device, in one exchange of all windows."""
    if time_axis(new.keys, reset) is None:
        return carry

    def join(carry):
        parts = carry.keys, carry.values, carry.valid[..., None]
        return jnp.concatenate([x.astype(carry.valid.dtype) for x in parts], -1)

    window = entering_window(join(carry), join(new), reset=reset)
    features = carry.keys.shape[-1]
    keys, values, valid = jnp.split(window, [features, 2 * features], -1)
    return AttentionCarry(keys, values, valid[..., 0])


def _append(carry, new):
    """The carried keys, values and flags followed by the new ones, in the dtype of the latter."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a.astype(b.dtype), b], 1), carry, new)


def _attention_mask(valid, segments, time, window):
    """Returns which positions each of the last `time` attends to: (batch, time, positions)."""
    batch, positions = valid.shape
    index = jnp.arange(positions, dtype=jnp.int32)
    distance = index[positions - time :, None] - index[None]
    in_window = (distance >= 0) & (distance < window)
    visible = jnp.broadcast_to(in_window[None], (batch, time, positions))
    visible &= jnp.expand_dims(segments[:, positions - time :], 2) == jnp.expand_dims(segments, 1)
    return visible & jnp.expand_dims(valid > 0.5, 1)


def _rotate_heads(queries, keys, heads):
    """Splits both into heads and rotates them; the queries are those of the last positions."""
    first = keys.shape[1] - queries.shape[1]
    queries, keys = _split_heads(queries, heads), _split_heads(keys, heads)
    return apply_rope(queries, first), apply_rope(keys, 0)


def _split_heads(x, heads):
    return x.astype(accumulation_dtype(x.dtype)).reshape(*x.shape[:2], heads, x.shape[-1] // heads)


def _is_finite(x):
    return jnp.all(jnp.isfinite(x), -1)
