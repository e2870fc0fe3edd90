"""What was tried to make the loops faster on a CPU, beside what is there: did it help?

Command:  python experiments/tried_on_cpu.py    (it keeps pages, as rnnlab --keep-pages does)
Device:   2 cores of a shared x86 machine; 1 minute.
Result:   experiments/tried_on_cpu/tried.jsonl and the table in docs/performance.md.

Expected, before each was measured:
  a cleared buffer             0.9: no copy of b before the loop, but zeros are written
  da inside the loop           0.9: g is read once less
  blocks of 16 steps           0.8: longer contiguous reads, the block's loop in the cache
  8 steps unrolled             0.8: fewer iterations
  two loops over half batches  0.6: a core each
  one wide array               1.0: of the projected inputs of all gates, by one matmul
  projected inside the loop    1.3: matmuls of few rows
  JAX's gradient               1.3: it adds up the recurrent kernel's cotangent at every step
  JAX's gradient, unroll=2     1.2: fewer iterations
  gates kept                   0.9: no second sigmoid and tanh in the backward loop
"""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import pages  # beside this file
from flax import nnx
from jax import Array, lax

from rnnlab import GRU, linear_scan, rows
from rnnlab.allocator import keep_pages
from rnnlab.bench.timing import against_floor, in_turns, prepare
from rnnlab.cells.equations import recurrent_gates
from rnnlab.cells.gru import AFTER
from rnnlab.tables import show

OUT = Path("experiments/tried_on_cpu/tried.jsonl")
SHAPE = (8, 2048, 512)
LAYER = (8, 1024, 256)
REPEATS = 9


def row(x: Array, t: Array) -> Array:
    return lax.dynamic_index_in_dim(x, t, 1, keepdims=False)


def put(x: Array, value: Array, t: Array) -> Array:
    return lax.dynamic_update_slice(x, value[:, None], (0, t, 0))


def forward(a, b, h, dh):
    return linear_scan(a, b)


def into_a_cleared_buffer(a, b, h, dh):
    def body(t, at):
        state, h = at
        state = row(b, t) + row(a, t) * state
        return state, put(h, state, t)

    return lax.fori_loop(0, b.shape[1], body, (jnp.zeros_like(b[:, 0]), jnp.zeros_like(b)))[1]


def by_blocks(a, b, h, dh, steps=16):
    def block(k, at):
        state, h = at
        part = [lax.dynamic_slice_in_dim(x, k * steps, steps, 1) for x in (a, h)]
        new = linear_scan(*part, state, backend="sequential")
        return new[:, -1], lax.dynamic_update_slice(h, new, (0, k * steps, 0))

    return lax.fori_loop(0, b.shape[1] // steps, block, (jnp.zeros_like(b[:, 0]), b))[1]


def unrolled(a, b, h, dh, steps=8):
    def block(k, at):
        state, h = at
        a_part, b_part = (lax.dynamic_slice_in_dim(x, k * steps, steps, 1) for x in (a, h))
        states = []
        for i in range(steps):
            state = b_part[:, i] + a_part[:, i] * state
            states.append(state)
        return state, lax.dynamic_update_slice(h, jnp.stack(states, 1), (0, k * steps, 0))

    return lax.fori_loop(0, b.shape[1] // steps, block, (jnp.zeros_like(b[:, 0]), b))[1]


def in_halves(a, b, h, dh):
    half = len(a) // 2
    return jnp.concatenate(
        [linear_scan(a[part], b[part]) for part in (slice(half), slice(half, None))]
    )


def backward(a, b, h, dh):
    return jax.vjp(linear_scan, a, b)[1](dh)


def da_inside_the_loop(a, b, h, dh):
    h = linear_scan(a, b)

    def body(i, at):
        p, da, db = at
        t = dh.shape[1] - 1 - i
        g = row(dh, t) + p
        before = jnp.where(t == 0, 0, row(h, jnp.maximum(t - 1, 0)))
        return row(a, t) * g, put(da, g * before, t), put(db, g, t)

    start = jnp.zeros_like(dh[:, 0]), jnp.zeros_like(dh), jnp.ones_like(dh)
    return lax.fori_loop(0, dh.shape[1], body, start)[1:]


def layer(params, xs, dys):
    cell = nnx.merge(GRAPHDEF, params, copy=True)
    return cell(cell.initial_carry(xs.shape[:1]), xs)[1]


def layer_of(states):
    """A layer from a function of the cell and its inputs, time first, to its states."""

    def run(params, xs, dys):
        cell = nnx.merge(GRAPHDEF, params, copy=True)
        return jnp.moveaxis(states(cell, jnp.moveaxis(xs, 1, 0)), 0, 1)

    return run


def over_time(cell, rows, project=lambda row: row, unroll=1):
    """JAX's own `lax.scan`, and its gradient, over rows that `project` makes one array a gate."""
    weights = cell.recurrent_kernel[...], cell.candidate_bias[...]

    def body(h, row):
        h = AFTER.step(h, project(row), *weights)
        return h, h

    start = cell.initial_carry(jax.tree.leaves(rows)[0].shape[1:2])
    return lax.scan(body, start, rows, unroll=unroll)[1]


def one_wide_array(cell, xs):
    return over_time(cell, _projected(cell, xs), _by_gate)


def projected_inside(cell, xs):
    return over_time(cell, xs, lambda x: _by_gate(_projected(cell, x)))


def by_jax(cell, xs, unroll=1):
    return over_time(cell, _of_gates(cell, xs), unroll=unroll)


def gates_kept(cell, xs):
    weights = cell.recurrent_kernel[...], cell.candidate_bias[...]
    return _kept(weights, _of_gates(cell, xs))


@jax.custom_vjp
def _kept(weights, pre):
    return _kept_forward(weights, pre)[0]


def _kept_forward(weights, pre):
    kernel, bias = weights

    def body(h, x):
        sums = AFTER.sums(recurrent_gates(h, kernel, x), x, bias)
        new, pull = jax.vjp(AFTER.pointwise, h, sums)
        return new, (new, pull)

    hs, pulls = lax.scan(body, jnp.zeros_like(pre[0][0]), pre)[1]
    return hs, (weights, hs, pulls)


def _kept_backward(residuals, dhs):
    (kernel, _), hs, pulls = residuals
    transposed = kernel.T

    def body(dh, at):
        pull, dy = at
        dh, (dr, dz, dn, dinner) = pull(dh + dy)
        return dh + jnp.concatenate([dr, dz, dinner], -1) @ transposed, (dr, dz, dn, dinner)

    rows_ = pulls, dhs
    _, (dr, dz, dn, dinner) = lax.scan(body, jnp.zeros_like(dhs[0]), rows_, reverse=True)
    before = jnp.concatenate([jnp.zeros_like(hs[:1]), hs[:-1]])
    before, *flat = (x.reshape(-1, x.shape[-1]) for x in (before, dr, dz, dinner))
    dkernel = jnp.concatenate([before.T @ d for d in flat], -1)
    return (dkernel, flat[-1].sum(0)), (dr, dz, dn)


_kept.defvjp(_kept_forward, _kept_backward)


def _projected(cell, xs):
    return (xs.reshape(-1, xs.shape[-1]) @ cell.kernel[...] + cell.bias[...]).reshape(
        *xs.shape[:-1], -1
    )


def _by_gate(x):
    return tuple(jnp.split(x, GRU.gates, axis=-1))


def _of_gates(cell, xs):
    kernels, biases = (jnp.split(x[...], GRU.gates, axis=-1) for x in (cell.kernel, cell.bias))
    return tuple(xs @ kernel + bias for kernel, bias in zip(kernels, biases, strict=True))


def with_gradients(outputs):
    def run(params, xs, dys):
        ys, pull = jax.vjp(lambda params, xs: outputs(params, xs, dys), params, xs)
        return ys, pull(dys)

    return run


CELL = GRU(LAYER[2], LAYER[2], rngs=nnx.Rngs(0))
GRAPHDEF, PARAMS = nnx.split(CELL)
GROUPS = {
    "scan, forward": {
        "as it is": forward,
        "into a cleared buffer": into_a_cleared_buffer,
        "blocks of 16 steps": by_blocks,
        "8 steps unrolled": unrolled,
        "two loops over half batches": in_halves,
    },
    "scan, forward and backward": {"as it is": backward, "da inside the loop": da_inside_the_loop},
    "GRU layer, forward": {
        "as it is": layer,
        "one wide array": layer_of(one_wide_array),
        "projected inside the loop": layer_of(projected_inside),
    },
    "GRU layer, forward and backward": {
        "as it is": with_gradients(layer),
        "one wide array, JAX's gradient": with_gradients(layer_of(one_wide_array)),
        "projected inside, JAX's gradient": with_gradients(layer_of(projected_inside)),
        "JAX's gradient": with_gradients(layer_of(by_jax)),
        "JAX's gradient, unroll=2": with_gradients(layer_of(partial(by_jax, unroll=2))),
        "gates kept": with_gradients(layer_of(gates_kept)),
    },
}


def main() -> int:
    keep_pages()
    keys = jax.random.split(jax.random.key(0), 4)
    a = jax.nn.sigmoid(jax.random.normal(keys[0], SHAPE))
    scan_operands = a, *(jax.random.normal(k, SHAPE) for k in keys[1:])
    layer_operands = PARAMS, *(jax.random.normal(k, LAYER) for k in keys[:2])
    measured = []
    for what, forms in GROUPS.items():
        operands = layer_operands if "layer" in what else scan_operands
        ready = [prepare(form, *operands) for form in forms.values()]
        wanted, *others = (jax.jit(form)(*operands) for form in forms.values())
        for found in others:
            pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
            assert all(jnp.allclose(x, y, rtol=1e-3, atol=1e-3) for x, y in pairs)
        seconds = in_turns([r.call for r in ready], REPEATS)
        for how, prepared, taken in zip(forms, ready, seconds, strict=True):
            found = {
                "benchmark": "tried_on_cpu",
                **rows.environment(jax.devices()[0]),
                "what": what,
                "how": how,
                "seed": 0,
                "repeats": REPEATS,
                **against_floor(prepared, taken, seconds[0]),
            }
            rows.append(OUT, found)
            measured.append(found)
    show(pages.tried_table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
