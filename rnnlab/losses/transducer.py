"""The loss of a transducer: a sum over all paths through a lattice of time steps and labels.

Source: Graves, "Sequence transduction with recurrent neural networks", arXiv 1211.3711. The nodes
(t, u) of one anti-diagonal, t + u = k, depend only on those of the one before, so that one loop
over T + U anti-diagonals computes all of them. docs/mathematics.md derives it.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from rnnlab.dtypes import accumulation_dtype
from rnnlab.errors import explain_forward_mode
from rnnlab.losses.ctc import require_whole_time
from rnnlab.scan.varying import match_varying
from rnnlab.validation import require_floating, require_shape


def transducer_loss(
    blank: Float[Array, "*batch time nodes"],
    emit: Float[Array, "*batch time label_time"],
    lengths: Int[Array, "*batch"] | None = None,
    label_lengths: Int[Array, "*batch"] | None = None,
    *,
    fast_emit: float = 0.0,
) -> Float[Array, "*batch"]:
    """Returns the negative log likelihood of each sequence of labels, over all alignments.

    A path through the lattice starts at node (0, 0) and ends with a blank at its last node,
    (length - 1, label_length). At node (t, u) it takes the blank to (t + 1, u), or emits label u
    and moves to (t, u + 1).

    Args:
      blank: log probability of the blank at each node (t, u), where u labels have been emitted;
        label_time + 1 nodes per time step. 16-bit inputs are computed in float32.
      emit: log probability of the label u at each node (t, u).
      lengths: number of time steps of each example; None: all. What follows them does not count.
      label_lengths: number of labels of each example, 0 or more; None: all.
      fast_emit: the factor lambda of FastEmit (Yu et al., arXiv 2010.11148), which multiplies the
        gradient of emitted labels by 1 + lambda, so that labels come earlier. The value stays the
        negative log likelihood.

    Returns:
      The losses in nats, of the inputs' dtype or float32: infinite where no path has a probability
      above 0, and 0 for an example without time steps and labels.

    The gradient with respect to `blank` and `emit` is minus the probability that a path takes an
    arc. It is a linear recurrence of numbers in [0, 1], from the last node to the first. Reverse
    mode of any order works, forward mode does not.

    Raises:
      ValueError: shapes or dtypes do not fit, a length is out of range, fast_emit is negative, or
        the time axis is cut over devices.

    >>> import jax.numpy as jnp
    >>> half = jnp.log(jnp.full((3, 3), 0.5))  # 3 time steps, 2 labels: 6 paths of 5 arcs
    >>> print(jnp.exp(-transducer_loss(half, half[:, :2])))
    0.1875
    """
    blank, emit = jnp.asarray(blank), jnp.asarray(emit)
    require_floating(blank=blank, emit=emit)
    if blank.ndim < 2 or blank.shape[-1] < 1:
        raise ValueError(
            f"blank must have shape (*batch, time, labels + 1), got {blank.shape}; add the missing "
            "axes"
        )
    expected = (*blank.shape[:-1], blank.shape[-1] - 1)
    require_shape("emit", emit, expected, "the shape of blank with one node less")
    require_whole_time("blank", blank, emit)
    if fast_emit < 0:
        raise ValueError(f"fast_emit must be >= 0, got {fast_emit}; pass 0.01")
    batch, (time, nodes) = blank.shape[:-2], blank.shape[-2:]
    dtype = accumulation_dtype(blank.dtype, emit.dtype)
    lengths = _lengths("lengths", lengths, batch, time).reshape(-1)
    label_lengths = _lengths("label_lengths", label_lengths, batch, nodes - 1).reshape(-1)
    if time == 0:
        nats = jnp.where(label_lengths == 0, 0, jnp.inf).astype(dtype)
        return nats.reshape(batch)
    examples = math.prod(batch)
    blank = blank.reshape(examples, time, nodes).astype(dtype)
    emit = emit.reshape(examples, time, nodes - 1).astype(dtype)
    with explain_forward_mode():
        nats = _jitted(*match_varying((blank, emit, lengths, label_lengths)), fast_emit)
    return nats.reshape(batch)


def _lengths(name: str, lengths: Array | None, batch: tuple[int, ...], largest: int) -> Array:
    if lengths is None:
        return jnp.full(batch, largest, jnp.int32)
    lengths = jnp.asarray(lengths)
    require_shape(name, lengths, batch, "the batch axes of blank")
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise ValueError(f"{name} must be integers, got {lengths.dtype}; cast them")
    if not isinstance(lengths, jax.core.Tracer) and lengths.size:
        low, high = int(lengths.min()), int(lengths.max())
        if low < 0 or high > largest:
            raise ValueError(
                f"{name} must be in 0 to {largest}, got {low if low < 0 else high}; count the "
                "entries before the padding"
            )
    return lengths.astype(jnp.int32)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _loss(blank, emit, lengths, label_lengths, fast_emit):
    return sum_over_paths(blank, emit, lengths, label_lengths)[0]


def _loss_forward(blank, emit, lengths, label_lengths, fast_emit):
    nats, share = sum_over_paths(blank, emit, lengths, label_lengths)
    return nats, (share, nats, lengths, label_lengths)


def _loss_backward(fast_emit, residuals, dnats):
    share, nats, lengths, label_lengths = residuals
    diagonals, _, nodes = share.shape
    k = jnp.arange(diagonals, dtype=jnp.int32)[:, None, None]
    u = jnp.arange(nodes, dtype=jnp.int32)[None, None]
    end = (k + 1 == (lengths + label_lengths)[None, :, None]) & (u == label_lengths[None, :, None])
    weight = jnp.where(jnp.isfinite(nats), dnats, 0)[None, :, None]

    def body(flow, inputs):
        # The flow through a node is the probability that a path visits it, times the cotangent.
        # It comes from the nodes of the diagonal before, by shares that add up to 1.
        share, starts = inputs
        flow = flow + starts
        by_blank = share * flow
        by_emit = jnp.pad((flow - by_blank)[:, 1:], ((0, 0), (0, 1)))
        return by_blank + by_emit, (by_blank, by_emit)

    starts = jnp.where(end, weight, 0)
    none = jnp.zeros_like(share[0])
    _, (by_blank, by_emit) = lax.scan(body, none, (share, starts), reverse=True)
    time = diagonals - (nodes - 1)
    demit = -(1 + fast_emit) * _from_diagonals(by_emit, time)[..., :-1]
    return -_from_diagonals(by_blank, time), demit, None, None


_loss.defvjp(_loss_forward, _loss_backward)
_jitted = jax.jit(_loss, static_argnums=4)


def sum_over_paths(
    blank: Float[Array, "batch time nodes"],
    emit: Float[Array, "batch time label_time"],
    lengths: Int[Array, " batch"],
    label_lengths: Int[Array, " batch"],
) -> tuple[Float[Array, " batch"], Float[Array, "diagonals batch nodes"]]:
    """Returns the losses, and of each node the share of its paths that come by the blank.

    The share of node (t, u) is at [t + u - 1, :, u]. Arguments are those of `transducer_loss`,
    whose gradients follow from the shares.
    """
    _, time, nodes = blank.shape
    t = jnp.arange(time, dtype=jnp.int32)[None, :, None]
    u = jnp.arange(nodes, dtype=jnp.int32)[None, None]
    last, labels = lengths[:, None, None] - 1, label_lengths[:, None, None]
    # Arcs of the example only. The blanks of its last time step lead to its end or nowhere: their
    # nodes would otherwise decide by what a diagonal is normalized.
    keep = ((t < last) & (u <= labels)) | ((t == last) & (u == labels))
    blank = _to_diagonals(jnp.where(keep, blank, -jnp.inf))
    emit = jnp.pad(emit, ((0, 0), (0, 0), (0, 1)))
    emit = _to_diagonals(jnp.where((t <= last) & (u < labels), emit, -jnp.inf))

    def body(log_alpha, arcs):
        # Each diagonal is divided by its largest entry: float32 keeps its precision at any length.
        blank, emit = arcs
        total, share = _log_add(log_alpha + blank, _move_right(log_alpha + emit))
        scale = lax.stop_gradient(jnp.max(total, -1, keepdims=True))
        scale = jnp.where(jnp.isfinite(scale), scale, 0)
        return total - scale, (total - scale, share, scale[:, 0])

    first = jnp.full_like(blank[0], -jnp.inf).at[:, 0].set(0)
    first, blank, emit = match_varying((first, blank, emit))
    _, (log_alpha, share, scales) = lax.scan(body, first, (blank, emit))
    end = jnp.maximum(lengths + label_lengths - 1, 0)
    examples = jnp.arange(lengths.shape[0], dtype=jnp.int32)
    nats = -(log_alpha[end, examples, label_lengths] + jnp.sum(scales, 0))
    return jnp.where(lengths + label_lengths == 0, 0, nats), share


def _log_add(x: Array, y: Array) -> tuple[Array, Array]:
    """Returns log(exp(x) + exp(y)) and the share of exp(x) in that, whose gradients are finite."""
    both = (x > -jnp.inf) & (y > -jnp.inf)
    difference = jnp.where(both, x, 0) - jnp.where(both, y, 0)
    ratio = jnp.exp(-jnp.abs(difference))  # of the smaller to the larger
    total = jnp.maximum(x, y) + jnp.where(both, jnp.log1p(ratio), 0)
    share = jnp.where(difference >= 0, 1, ratio) / (1 + ratio)
    return total, jnp.where(both, share, (x > -jnp.inf).astype(x.dtype))


def _move_right(x: Array) -> Array:
    return jnp.pad(x[:, :-1], ((0, 0), (1, 0)), constant_values=-jnp.inf)


def _to_diagonals(x: Array) -> Array:
    """Returns (batch, time, nodes) by diagonals: [k, :, u] is x[:, k - u, u], or -inf outside.

    Rows of one more than the diagonals, read as rows of the diagonals, are shifted by one each.
    """
    batch, time, nodes = x.shape
    diagonals = time + nodes - 1
    x = jnp.swapaxes(x, 1, 2)
    x = jnp.pad(x, ((0, 0), (0, 0), (0, diagonals + 1 - time)), constant_values=-jnp.inf)
    x = x.reshape(batch, -1)[:, : nodes * diagonals]
    return jnp.moveaxis(x.reshape(batch, nodes, diagonals), 2, 0)


def _from_diagonals(x: Array, time: int) -> Array:
    """Returns the (batch, time, nodes) that `_to_diagonals` has read."""
    diagonals, batch, nodes = x.shape
    x = jnp.moveaxis(x, 0, 2).reshape(batch, -1)
    x = jnp.pad(x, ((0, 0), (0, nodes))).reshape(batch, nodes, diagonals + 1)
    return jnp.swapaxes(x[:, :, :time], 1, 2)
