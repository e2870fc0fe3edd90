"""Variants of the scan for ../cpu_ablations.py."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from rnnlab import linear_scan

SHAPE = (8, 2048, 512)


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


def operands() -> tuple[Array, ...]:
    keys = jax.random.split(jax.random.key(0), 4)
    a = jax.nn.sigmoid(jax.random.normal(keys[0], SHAPE))
    return a, *(jax.random.normal(key, SHAPE) for key in keys[1:])


GROUPS = {
    "scan, forward": {
        "default": forward,
        "into a cleared buffer": into_a_cleared_buffer,
        "blocks of 16 steps": by_blocks,
        "8 steps unrolled": unrolled,
        "two loops over half batches": in_halves,
    },
    "scan, forward and backward": {"default": backward, "da inside the loop": da_inside_the_loop},
}
