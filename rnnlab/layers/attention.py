"""Causal self-attention over a window, under the cell contract."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from rnnlab.cells.validation import checked, compute_dtype, zero_masked
from rnnlab.layers.window import advance, segments
from rnnlab.scan.affine import accumulation_dtype
from rnnlab.validation import require_positive_int

ROTARY_BASE = 10_000


class AttentionCarry(NamedTuple):
    """The last keys and values, oldest first, before rotation; `valid` is 1 where there is one."""

    keys: Float[Array, "*batch window features"]
    values: Float[Array, "*batch window features"]
    valid: Float[Array, "*batch window"]


class Attention(nnx.Module):
    """Causal multi-head self-attention with rotary positions, over the last `context` steps.

        q, k, v = x W, in heads of d features
        w[t, s] = softmax over s of rotate(q[t], t) . rotate(k[s], s) / sqrt(d)
        y[t] = sum over s of w[t, s] v[s],   t - context < s <= t, s in t's segment

    The carry is an `AttentionCarry` of the last `context - 1` keys and values. A step attends to
    nothing from before a reset, NaN included. `mask` must be right padding. There is no projection
    behind the heads: as a block's cell, the block's `project` is that. Scores are summed in float32
    or wider; the softmax is float32 even where dtype is float64, being
    `jax.nn.dot_product_attention`'s. All pairs of a call's steps are scored, so memory grows with
    the square of its length.

    Args:
      in_features, features: width of the input and of all heads together.
      rngs: source of the parameters' keys.
      heads: number of heads; features over heads is to be even.
      context: number of steps that a step attends to, itself included.
      kernel_init: initialiser of `kernel` (in_features, 3 * features).
      dtype: dtype of products and `ys`; None is `param_dtype`. The carry is float32 or wider.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: heads do not divide features evenly, or a call's shapes or dtypes do not fit.

    Source: arXiv 1706.03762, section 3.2; positions of arXiv 2104.09864, section 3.2, which pair
    feature j with j + d/2 where the paper pairs neighbours: the same up to the order of features.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> layer = Attention(3, 8, rngs=nnx.Rngs(0), heads=2, context=6)
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
        context: int = 256,
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        require_positive_int(
            in_features=in_features, features=features, heads=heads, context=context
        )
        if features % (2 * heads):
            raise ValueError(
                f"features is {features}; an even number for each of {heads} heads is needed: "
                f"a multiple of {2 * heads}"
            )
        self.in_features = in_features
        self.features = features
        self.heads = heads
        self.context = context
        self.dtype = compute_dtype(dtype, param_dtype)
        kernel = kernel_init(rngs.params(), (in_features, 3 * features), param_dtype)
        self.kernel = nnx.Param(kernel)

    def initial_carry(self, batch_shape: Sequence[int]) -> AttentionCarry:
        """An empty window: zeros of (*batch_shape, context - 1, ...), float32 or wider."""
        shape, dtype = (*batch_shape, self.context - 1), accumulation_dtype(self.dtype)
        return AttentionCarry(
            jnp.zeros((*shape, self.features), dtype),
            jnp.zeros((*shape, self.features), dtype),
            jnp.zeros(shape, dtype),
        )

    def __call__(
        self,
        carry: AttentionCarry,
        xs: Float[Array, "*batch time in_features"],
        *,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
    ) -> tuple[AttentionCarry, Float[Array, "*batch time features"]]:
        """The window after the last real step and the outputs of all steps, 0 where masked."""
        carry, xs, reset, mask = checked(self, carry, xs, reset, mask, time=True)
        return self._run(carry, xs, reset, mask)

    def step(
        self,
        carry: AttentionCarry,
        x: Float[Array, "*batch in_features"],
        *,
        reset: Bool[Array, "*batch"] | None = None,
        mask: Bool[Array, "*batch"] | None = None,
    ) -> tuple[AttentionCarry, Float[Array, "*batch features"]]:
        """One step, in time and memory of order `context`."""
        carry, x, reset, mask = checked(self, carry, x, reset, mask, time=False)
        reset, mask = (None if flag is None else flag[..., None] for flag in (reset, mask))
        carry, ys = self._run(carry, x[..., None, :], reset, mask)
        return carry, ys[..., 0, :]

    def weights(
        self,
        carry: AttentionCarry,
        xs: Float[Array, "*batch time in_features"],
        *,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
    ) -> Float[Array, "*batch heads time positions"]:
        """What each step attends to, by head: `w[t, s]`, 0 in rows that are masked.

        Positions are the carry's `context - 1` steps, and behind them those of the call.
        """
        carry, xs, reset, mask = checked(self, carry, xs, reset, mask, time=True)

        def rows(carry, xs, reset):
            queries, new, segment = self._projected(carry, xs, reset)
            keys, valid = (
                jnp.concatenate([a.astype(b.dtype), b], 1)
                for a, b in ((carry.keys, new.keys), (carry.valid, new.valid))
            )
            sees = _sees(valid, segment, xs.shape[1], self.context)
            q, k = _rotated(queries, keys, self.heads)
            scores = jnp.einsum("bthd,bshd->bhts", q, k) / math.sqrt(q.shape[-1])
            return jax.nn.softmax(jnp.where(jnp.expand_dims(sees, 1), scores, -jnp.inf))

        weights = _one_batch_axis(rows, xs.shape[:-2], carry, xs, reset)
        return weights if mask is None else jnp.where(mask[..., None, :, None], weights, 0)

    def _run(self, carry, xs, reset, mask):
        carry, ys = _one_batch_axis(self._rows, xs.shape[:-2], carry, xs, reset, mask)
        return carry, zero_masked(ys, mask)

    def _projected(self, carry, xs, reset):
        """Queries, what the steps add to the carry, and the segments of carry and steps."""
        rows, length, _ = xs.shape
        window = self.context - 1
        flat = xs.astype(self.dtype).reshape(rows * length, self.in_features)
        projected = (flat @ self.kernel[...].astype(self.dtype)).reshape(
            rows, length, 3 * self.features
        )
        queries, keys, values = jnp.split(projected, 3, -1)
        new = AttentionCarry(keys, values, jnp.ones((rows, length), carry.valid.dtype))
        segment = jnp.zeros((rows, window + length), jnp.int32)
        if reset is not None:
            segment = segments(reset, window)
        return queries, new, segment

    def _rows(self, carry, xs, reset, mask):
        queries, new, segment = self._projected(carry, xs, reset)
        window = self.context - 1

        # Recomputed in the backward pass: `cond` would store the residuals of both its branches.
        @jax.checkpoint
        def attend(queries, seen, segment):
            return attention(queries, *seen, segment, heads=self.heads, context=self.context)

        def with_window():
            seen = jax.tree.map(lambda a, b: jnp.concatenate([a.astype(b.dtype), b], 1), carry, new)
            return attend(queries, seen, segment)

        # A fresh sequence, the usual case in training, does not pay for the window.
        ys = lax.cond(
            jnp.any(carry.valid > 0.5),
            with_window,
            lambda: attend(queries, new, segment[:, window:]),
        )

        def moved(old, x):
            return advance(old, x, reset=reset, mask=mask)

        valid = moved(carry.valid[..., None], new.valid[..., None])[..., 0]
        keys, values = moved(carry.keys, new.keys), moved(carry.values, new.values)
        return AttentionCarry(keys, values, valid), ys


def _one_batch_axis(f, batch, *arrays):
    """`f` of arrays, or trees of them, whose batch axes are made one, and of its results back."""
    rows = math.prod(batch)
    flat = jax.tree.map(lambda x: x.reshape(rows, *x.shape[len(batch) :]), arrays)
    return jax.tree.map(lambda x: x.reshape(*batch, *x.shape[1:]), f(*flat))


def attention(
    queries: Float[Array, "batch time features"],
    keys: Float[Array, "batch positions features"],
    values: Float[Array, "batch positions features"],
    valid: Float[Array, "batch positions"],
    segment: Int[Array, "batch positions"],
    *,
    heads: int,
    context: int,
) -> Float[Array, "batch time features"]:
    """Attention from the last `time` positions to those before and themselves.

    A position is seen from its own segment, at most `context - 1` steps later, where it is valid.

    A query that is not finite, or sees a key or value that is not, gives NaN; no other does, and
    no other gets a gradient that is not finite for it.
    """
    sees = _sees(valid, segment, queries.shape[1], context)
    # Zeroed before any product: weight 0 times NaN would be NaN in rows that do not see it.
    known = _finite(keys) & _finite(values)
    lost = ~_finite(queries) | jnp.any(sees & ~jnp.expand_dims(known, 1), -1)
    lost = jnp.expand_dims(lost, -1)
    q = jnp.where(lost, 0, queries)
    k, v = (jnp.where(jnp.expand_dims(known, -1), x, 0) for x in (keys, values))

    q, k = _rotated(q, k, heads)
    v = _by_head(v, heads)
    # In float32 or wider: JAX's function has no float16 on CPU, nor 16-bit gradients if promotion
    # is strict. It asks for the wider of float32 and float64, which is refused there too.
    with jax.numpy_dtype_promotion("standard"):
        ys = jax.nn.dot_product_attention(q, k, v, mask=jnp.expand_dims(sees, 1))
    ys = _contained(ys.reshape(queries.shape).astype(queries.dtype), queries)
    # A product with its own query, so that the gradient there is NaN too, not silently 0.
    nan = jnp.where(lost, jnp.nan, 0).astype(queries.dtype) * jnp.where(lost, queries, 0)
    return jnp.where(lost, nan, ys)


def _sees(valid, segment, time, context):
    """Which positions (batch, time, positions) each of the last `time` sees."""
    rows, positions = valid.shape
    place = jnp.arange(positions, dtype=jnp.int32)
    ago = place[positions - time :, None] - place[None]
    sees = jnp.broadcast_to(((ago >= 0) & (ago < context))[None], (rows, time, positions))
    sees &= jnp.expand_dims(segment[:, positions - time :], 2) == jnp.expand_dims(segment, 1)
    return sees & jnp.expand_dims(valid > 0.5, 1)


def _rotated(queries, keys, heads):
    """Both by head and turned, the queries being those of the last positions."""
    first = keys.shape[1] - queries.shape[1]
    return rotate(_by_head(queries, heads), first), rotate(_by_head(keys, heads), 0)


def _by_head(x, heads):
    return x.astype(accumulation_dtype(x.dtype)).reshape(*x.shape[:2], heads, x.shape[-1] // heads)


@jax.custom_vjp
def _contained(ys, queries):
    """`ys`. A row's cotangent that is not finite goes to its own query alone, as NaN: behind the
    softmax, weight 0 times NaN would reach the keys that the row does not see."""
    return ys


def _contained_backward(_, dys):
    lost = jnp.expand_dims(~_finite(dys), -1)
    return jnp.where(lost, 0, dys), jnp.where(lost, jnp.nan, jnp.zeros_like(dys))


_contained.defvjp(lambda ys, queries: (ys, None), _contained_backward)


def rotate(
    x: Float[Array, "batch time heads features"], first: int
) -> Float[Array, "batch time heads features"]:
    """Turns features j and j + d/2 by the angle `position * 10000**(-2 j / d)`.

    Positions count from `first`. The product of two rotated vectors depends on the difference of
    their positions alone.

    Source: arXiv 2104.09864, section 3.2.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([1.0, 0.0]).reshape(1, 1, 1, 2)
    >>> print(rotate(x, 1).squeeze().round(4))  # cos 1, sin 1
    [0.5403 0.8415]
    """
    time, half = x.shape[1], x.shape[-1] // 2
    # Angles in units of 2**-32 turns, whose wrapping is exact: in float32 radians those of far
    # positions would lose the digits by which a step equals its place in a sequence.
    units = np.round(ROTARY_BASE ** (-np.arange(half) / half) / (2 * np.pi) * 2.0**32)
    position = first + jnp.arange(time, dtype=jnp.uint32)
    wrapped = position[:, None] * jnp.asarray(units.astype(np.uint32))[None]
    signed = lax.bitcast_convert_type(wrapped, jnp.int32).astype(x.dtype)
    angle = (signed * (2 * np.pi / 2.0**32)).reshape(1, time, 1, half)
    a, b = x[..., :half], x[..., half:]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def _finite(x):
    return jnp.all(jnp.isfinite(x), -1)
