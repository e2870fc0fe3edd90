"""One walk over time by a kernel, over arrays of any shape.

`sweep_gpu` and `sweep_tpu` are the kernels: they know how rows come and go on their platform, and
take a step that says what happens at a row. Where one walk cannot occupy the device, its time is
split: a first walk composes each part's steps to one, and the second starts every part from its own
state, for two more numbers read a row.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from rnnlab.scan.affine import Step, carry_term
from rnnlab.scan.backends import associative
from rnnlab.scan.backends.unfused import previous

Sweep = Callable[..., tuple[tuple[Array, ...], tuple[Array, ...]]]
"""Walks once over time: `sweep(step, rows, ahead, flags, carries, dtypes, *, backwards)`.

Args:
  step: what happens at a row, see `rnnlab.scan.affine.Step`.
  rows: arrays (batch, time, features) of which the step gets a row each.
  ahead: None, or an array of that shape, of which the step gets the row that the walk visits next,
    and (batch, features) in place of the one after the last.
  flags: (batch, time) int32, or None.
  carries: (batch, parts, features). Time is split into as many parts, and each starts from its own.
    Whole tiles must be divisible by them; what is left over goes to the last.
  dtypes: of what the step returns for each row.
  backwards: walks from the last row to the first.

Returns the rows that the steps returned, (batch, time, features), and the last carries.
"""


class Kernel(NamedTuple):
    """A platform's walk, the features of its blocks, and how it splits time."""

    sweep: Sweep
    features: int
    chunks: Callable[[int, int, int], int]


def walk(
    kernel: Kernel,
    step: Step,
    affine: Callable[..., tuple[Array, Array, Array | None]],
    rows: Sequence[Array],
    flags: Array | None,
    carries: Sequence[Array],
    dtypes: Sequence[DTypeLike],
    *,
    ahead: tuple[Array, Array] | None = None,
    backwards: bool,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Runs `kernel` over arrays of any leading axes and any number of features.

    The first carry is the state, and `affine(row, flag, *others)` gives its step's coefficients.
    The other carries come back summed over the parts of time.
    """
    batch, (length, features) = rows[0].shape[:-2], rows[0].shape[-2:]
    padding = -features % kernel.features

    def flat(x):
        x = x.reshape(-1, *x.shape[len(batch) :])
        return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, padding)]) if padding else x

    def whole(x):
        return x[..., :features].reshape(*batch, *x.shape[1:-1], features)

    rows, carries, ahead = jax.tree.map(flat, (tuple(rows), tuple(carries), ahead))
    flags = None if flags is None else flags.reshape(-1, length)
    parts = kernel.chunks(*rows[0].shape)
    state, *others = (
        jnp.broadcast_to(x[:, None], (x.shape[0], parts, x.shape[1])) for x in carries
    )
    sweep = _batchable(kernel.sweep, backwards)
    if parts > 1:
        state = _starts(sweep, affine, rows, flags, state, others)
    written, (ends, *others) = sweep(step, dtypes, rows, ahead, flags, (state, *others))
    sums = (whole(x.sum(1)) for x in others)
    return tuple(map(whole, written)), (whole(ends[:, -1]), *sums)


def _starts(sweep, affine, rows, flags, state, others):
    """The state that each part of time starts from: a walk in which every part composes its steps.

    The composition of a part is `h -> b + carry_term(a, h, cut)` again.
    """

    def step(carry, row, following, code):
        a, b, cut, *others = carry
        more_a, more_b, more_cut = affine(row, code, *others)
        if more_cut is not None:
            cut = jnp.where(more_cut, 1, cut)
        b = more_b + carry_term(more_a, b, more_cut)
        return (carry_term(more_a, a, more_cut), b, cut, *others), ()

    first = jnp.ones_like(state), jnp.zeros_like(state), jnp.zeros_like(state), *others
    _, (a, b, cut, *_) = sweep(step, (), rows, None, flags, first)
    h0 = state[:, 0]
    cut = None if flags is None else cut > 0
    return previous(associative.linear(a, b, h0, cut, reverse=False)[0], h0, reverse=False)


def _batchable(sweep: Sweep, backwards: bool):
    """`sweep` that `jax.vmap` joins the new axis of to that of the sequences."""

    def run(step, dtypes, *operands):
        @jax.custom_batching.custom_vmap
        def one(*operands):
            return sweep(step, *operands[:4], dtypes, backwards=backwards)

        @one.def_vmap
        def joined(size, batched, *operands):
            def join(x, is_batched):
                x = x if is_batched else jnp.broadcast_to(x, (size, *x.shape))
                return x.reshape(-1, *x.shape[2:])

            results = one(*jax.tree.map(join, operands, tuple(batched)))
            results = jax.tree.map(lambda x: x.reshape(size, -1, *x.shape[1:]), results)
            return results, jax.tree.map(lambda _: True, results)

        return one(*operands)

    return run
