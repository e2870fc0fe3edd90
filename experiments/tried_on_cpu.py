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
  unroll=2                     0.9: fewer iterations of lax.scan
  one kernel gradient          0.8: one matmul over all steps for the recurrent kernel's cotangent,
                               where JAX's gradient of the loop adds one up at every step
  gates kept                   0.7: the same, and no second sigmoid and tanh backward
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


def recurrent_sum(h, kernel, candidate_bias):
    sums = h @ kernel
    rest = jnp.zeros(sums.shape[-1] - len(candidate_bias))
    return sums + jnp.concatenate([rest, candidate_bias])


def gru_point(h, pre, recurrent):
    pre_r, pre_z, pre_n = jnp.split(pre, 3, axis=-1)
    r, z, inner = jnp.split(recurrent, 3, axis=-1)
    r, z = jax.nn.sigmoid(pre_r + r), jax.nn.sigmoid(pre_z + z)
    n = jnp.tanh(pre_n + r * inner)
    return n + z * (h - n)


def layer_by_twos(params, xs, dys):
    kernel, bias, weights = _parts(params)

    def body(h, x):
        h = gru_point(h, x, recurrent_sum(h, *weights))
        return h, h

    start = jnp.zeros((xs.shape[0], weights[0].shape[0]))
    pre = _projected(kernel, bias, xs)
    return jnp.moveaxis(lax.scan(body, start, pre, unroll=2)[1], 0, 1)


def layer_with_one_kernel_gradient(params, xs, dys):
    kernel, bias, weights = _parts(params)
    return jnp.moveaxis(_once(weights, _projected(kernel, bias, xs)), 0, 1)


@jax.custom_vjp
def _once(weights, pre):
    return _once_forward(weights, pre)[0]


def _once_forward(weights, pre):
    def body(h, x):
        recurrent = recurrent_sum(h, *weights)
        h = gru_point(h, x, recurrent)
        return h, (h, recurrent)

    start = jnp.zeros((pre.shape[1], weights[0].shape[0]))
    hs, recurrents = lax.scan(body, start, pre)[1]
    return hs, (weights, pre, hs, recurrents)


def _once_backward(residuals, dhs):
    weights, pre, hs, recurrents = residuals
    before = jnp.concatenate([jnp.zeros_like(hs[:1]), hs[:-1]])

    def body(dh, at):
        h, x, recurrent, dy = at
        dh, dx, drecurrent = jax.vjp(gru_point, h, x, recurrent)[1](dh + dy)
        return dh + drecurrent @ weights[0].T, (dx, drecurrent)

    rows_ = before, pre, recurrents, dhs
    _, (dpre, drecurrents) = lax.scan(body, jnp.zeros_like(dhs[0]), rows_, reverse=True)
    matmul = partial(recurrent_sum, before)
    return jax.vjp(lambda *weights: matmul(*weights), *weights)[1](drecurrents), dpre


_once.defvjp(_once_forward, _once_backward)


def layer_with_gates_kept(params, xs, dys):
    kernel, bias, weights = _parts(params)
    return jnp.moveaxis(_kept(weights, _projected(kernel, bias, xs)), 0, 1)


@jax.custom_vjp
def _kept(weights, pre):
    return _kept_forward(weights, pre)[0]


def _kept_forward(weights, pre):
    def body(h, x):
        new, pull = jax.vjp(gru_point, h, x, recurrent_sum(h, *weights))
        return new, (new, pull)

    start = jnp.zeros((pre.shape[1], weights[0].shape[0]))
    hs, pulls = lax.scan(body, start, pre)[1]
    return hs, (weights, hs, pulls)


def _kept_backward(residuals, dhs):
    weights, hs, pulls = residuals

    def body(dh, at):
        pull, dy = at
        dh, dx, drecurrent = pull(dh + dy)
        return dh + drecurrent @ weights[0].T, (dx, drecurrent)

    _, (dpre, drecurrents) = lax.scan(body, jnp.zeros_like(dhs[0]), (pulls, dhs), reverse=True)
    before = jnp.concatenate([jnp.zeros_like(hs[:1]), hs[:-1]])
    matmul = partial(recurrent_sum, before)
    return jax.vjp(lambda *weights: matmul(*weights), *weights)[1](drecurrents), dpre


_kept.defvjp(_kept_forward, _kept_backward)


def with_gradients(outputs):
    def run(params, xs, dys):
        ys, pull = jax.vjp(lambda params, xs: outputs(params, xs, dys), params, xs)
        return ys, pull(dys)

    return run


def _parts(params):
    cell = nnx.merge(GRAPHDEF, params, copy=True)
    weights = cell.recurrent_kernel[...], cell.candidate_bias[...]
    return cell.kernel[...], cell.bias[...], weights


def _projected(kernel, bias, xs):
    xs = jnp.moveaxis(xs, 1, 0)
    return (xs.reshape(-1, xs.shape[-1]) @ kernel + bias).reshape(*xs.shape[:2], -1)


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
    "GRU layer, forward and backward": {
        "as it is": with_gradients(layer),
        "unroll=2": with_gradients(layer_by_twos),
        "one kernel gradient": with_gradients(layer_with_one_kernel_gradient),
        "gates kept": with_gradients(layer_with_gates_kept),
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
