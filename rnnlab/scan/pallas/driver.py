"""Run a kernel that scans once over time, on arrays of any shape.

`mosaic_gpu` and `mosaic_tpu` hold the kernels: they move the data of each time step on their
platform, and call a function that computes the step. Where one pass cannot occupy the device, time
is split into chunks: a first pass composes the steps of each chunk into one, and the second starts
every chunk from its own state. The price is a second reading of the inputs.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from rnnlab.scan.affine import carry_term
from rnnlab.scan.backends import associative
from rnnlab.scan.backends.unfused import shift_states

StepFn = Callable[
    [tuple[Array, ...], Sequence[Array], Array | None, Array | None],
    tuple[tuple[Array, ...], tuple[Array, ...]],
]
"""One time step of a kernel: `step(carries, inputs, lookahead, flags) -> (carries, outputs)`.

`inputs` holds one time step of each input array. `lookahead` is one more array at the time step
that the kernel visits next, `flags` an int32; both may be None.
"""

KernelFn = Callable[..., tuple[tuple[Array, ...], tuple[Array, ...]]]
"""Scans once over time: `kernel(step, inputs, lookahead, flags, carries, dtypes, *, reverse)`.

Args:
  step: a `StepFn`.
  inputs: arrays (batch, time, features).
  lookahead: None, or an array (batch, time, features) for the step's `lookahead`, and
    (batch, features) for the value after the last step.
  flags: (batch, time) int32, or None.
  carries: initial carries (batch, chunks, features). Time is split into that many chunks. The
    number of whole tiles must be a multiple of it; the time steps that fill no tile go to the last
    chunk.
  dtypes: dtypes of the step's outputs.
  reverse: whether the kernel runs from the last time step to the first.

Returns the outputs of all steps, (batch, time, features), and the final carries.
"""


class KernelBackend(NamedTuple):
    """A platform's kernel, the number of features per block, and its way to split time."""

    kernel: KernelFn
    block_features: int
    num_time_chunks: Callable[[int, int, int], int]


def run_kernel(
    backend: KernelBackend,
    step: StepFn,
    affine: Callable[..., tuple[Array, Array, Array | None]],
    inputs: Sequence[Array],
    flags: Array | None,
    carries: Sequence[Array],
    dtypes: Sequence[DTypeLike],
    *,
    lookahead: tuple[Array, Array] | None = None,
    reverse: bool,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Runs a kernel over arrays of any leading axes and any number of features.

    The first carry is the state, and `affine(inputs, flags, *other_carries)` returns the
    coefficients of its step. The other carries come back summed over the chunks of time.
    """
    batch, (length, features) = inputs[0].shape[:-2], inputs[0].shape[-2:]
    padding = -features % backend.block_features

    def flatten(x):
        x = x.reshape(-1, *x.shape[len(batch) :])
        return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, padding)]) if padding else x

    def unflatten(x):
        return x[..., :features].reshape(*batch, *x.shape[1:-1], features)

    inputs, carries, lookahead = jax.tree.map(flatten, (tuple(inputs), tuple(carries), lookahead))
    flags = None if flags is None else flags.reshape(-1, length)
    chunks = backend.num_time_chunks(*inputs[0].shape)
    state, *others = (
        jnp.broadcast_to(x[:, None], (x.shape[0], chunks, x.shape[1])) for x in carries
    )
    kernel = _with_vmap_rule(backend.kernel, reverse)
    if chunks > 1:
        state = _chunk_initial_states(kernel, affine, inputs, flags, state, others)
    outputs, (ends, *others) = kernel(step, dtypes, inputs, lookahead, flags, (state, *others))
    sums = (unflatten(x.sum(1)) for x in others)
    return tuple(map(unflatten, outputs)), (unflatten(ends[:, -1]), *sums)


def _chunk_initial_states(kernel, affine, inputs, flags, state, others):
    """Returns the state that each chunk starts from: a pass in which each composes its steps.

    The composition of a chunk is `h -> b + carry_term(a, h, reset)` again.
    """

    def step(carries, inputs, lookahead, flags):
        a, b, reset, *others = carries
        step_a, step_b, step_reset = affine(inputs, flags, *others)
        if step_reset is not None:
            reset = jnp.where(step_reset, 1, reset)
        b = step_b + carry_term(step_a, b, step_reset)
        return (carry_term(step_a, a, step_reset), b, reset, *others), ()

    identity = jnp.ones_like(state), jnp.zeros_like(state), jnp.zeros_like(state)
    _, (a, b, reset, *_) = kernel(step, (), inputs, None, flags, (*identity, *others))
    h0 = state[:, 0]
    reset = None if flags is None else reset > 0
    return shift_states(associative.scan(a, b, h0, reset, reverse=False)[0], h0, reverse=False)


def _with_vmap_rule(kernel: KernelFn, reverse: bool):
    """Returns `kernel` with a rule for `jax.vmap`: the new axis joins that of the sequences."""

    def run(step, dtypes, *operands):
        @jax.custom_batching.custom_vmap
        def one(*operands):
            return kernel(step, *operands[:4], dtypes, reverse=reverse)

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
