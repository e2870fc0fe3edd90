"""The recurrence as kernels that walk once over time: what a step of each walk does.

A walk, `rnnlab.scan.pallas.driver`, reads rows and carries a state from one to the next. The
functions here, one for each of the recurrence's operations, say what happens at a row. The
gates of a gated recurrence, and their derivatives, are computed there too. Every
operation thereby reads its operands once and writes its results once: 3 N numbers forward and 5 N
backward for `linear`, 3 N and 6 N for a gated one of two pre-activations.

Kernels are taken where JAX has them and the states are float32. `kernels` says which these are.
"""

import importlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from rnnlab.scan.affine import Gates, carry_term, coefficients
from rnnlab.scan.pallas.driver import Kernel, walk

RESET, HOLD = 1, 2
"""Bits of a row's flag: the state is cut off from what came before; the state is held."""


def kernels(dtype: DTypeLike) -> dict[str, Kernel]:
    """The kernels that can be lowered, by the name of their platform, for states of `dtype`.

    A GPU kernel needs a GPU of compute capability 9.0 (Hopper) or later; where none is visible, the
    program is taken to be meant for one. JAX calls its kernel language experimental and moves its
    parts: where this JAX lacks one of them, there is no kernel, and the other backends remain.
    """
    found = {}
    if jnp.dtype(dtype) != jnp.float32:
        return found
    for platform, name in (("cuda", "sweep_gpu"), ("tpu", "sweep_tpu")):
        try:
            module = importlib.import_module(f"rnnlab.scan.{name}")
        except (ImportError, AttributeError, TypeError):
            continue
        if platform != "cuda" or _tensor_memory_accelerator():
            found[platform] = Kernel(module.sweep, module.FEATURES, module.chunks)
    return found


def _tensor_memory_accelerator() -> bool:
    try:
        devices = jax.local_devices(backend="cuda")
    except RuntimeError:
        return True
    return all(float(device.compute_capability) >= 9 for device in devices)


def linear(
    kernel: Kernel, a: Array, b: Array, h0: Array, cut: Array | None, *, reverse: bool
) -> tuple[Array, Array]:
    """All states and the last one. The state is kept in h0's dtype, `h` has b's."""

    def affine(row, code):
        return *row, _has(code, RESET)

    def step(carry, row, following, code):
        h = row[1] + carry_term(row[0], carry[0], _has(code, RESET))
        return (h,), (h,)

    (h,), (last,) = walk(
        kernel, step, affine, (a, b), _flags(cut, None), (h0,), (b.dtype,), backwards=reverse
    )
    return h, last


def transpose(
    kernel: Kernel, a: Array, dh: Array, dlast: Array, cut: Array | None, *, reverse: bool
) -> tuple[Array, Array]:
    """The transpose of `linear`: cotangents of b and of h0 from those of h and of the last."""

    def step(carry, row, following, code):
        g = row[1] + carry[0]
        return (carry_term(row[0], g, _has(code, RESET)),), (g,)

    (g,), (dh0,) = walk(
        kernel,
        step,
        _against_time,
        (a, dh),
        _flags(cut, None),
        (dlast,),
        (dh.dtype,),
        backwards=not reverse,
    )
    return g, dh0


def pullback(
    kernel: Kernel,
    a: Array,
    h: Array,
    h0: Array,
    dh: Array,
    dlast: Array,
    cut: Array | None,
    *,
    reverse: bool,
) -> tuple[Array, Array, Array]:
    """Cotangents of linear's a, b and h0 from those of its results."""

    def step(carry, row, following, code):
        g, cut = row[1] + carry[0], _has(code, RESET)
        return (carry_term(row[0], g, cut),), (carry_term(g, following, cut), g)

    (da, db), (dh0,) = walk(
        kernel,
        step,
        _against_time,
        (a, dh),
        _flags(cut, None),
        (dlast,),
        (a.dtype, dh.dtype),
        ahead=(h, h0),
        backwards=not reverse,
    )
    return da, db, dh0


def gated(
    kernel: Kernel,
    gates: Gates,
    pre: Sequence[Array],
    h0: Array,
    init: Array,
    reset: Array | None,
    mask: Array | None,
    *,
    reverse: bool,
) -> tuple[Array, Array]:
    """`composed.gated` in one walk."""
    bits = _bits(reset, mask)

    def affine(row, code, init):
        reset, mask = bits(code)
        return *coefficients(gates, row, init, reset, mask), reset

    def step(carry, row, following, code):
        h, init = carry
        a, b, cut = affine(row, code, init)
        h = b + carry_term(a, h, cut)
        return (h, init), (h,)

    (h,), (last, _) = walk(
        kernel,
        step,
        affine,
        pre,
        _flags(reset, mask),
        (h0, init),
        (pre[-1].dtype,),
        backwards=reverse,
    )
    return h, last


def gated_transpose(
    kernel: Kernel,
    gates: Gates,
    pre: Sequence[Array],
    h0: Array,
    init: Array,
    reset: Array | None,
    mask: Array | None,
    h: Array,
    dh: Array,
    dlast: Array,
    *,
    reverse: bool,
) -> tuple[tuple[Array, ...], Array, Array]:
    """`composed.gated_transpose` in one walk, against the recurrence's direction."""
    bits = _bits(reset, mask)

    def affine(row, code, init, _):
        reset, mask = bits(code)
        a, _ = coefficients(gates, row[:-1], init, reset, mask)
        return a, carry_term(a, row[-1], reset), reset

    def step(carry, row, following, code):
        p, init, dinit = carry
        reset, mask = bits(code)

        def coefficients_of(pre, init):
            return coefficients(gates, pre, init, reset, mask)

        (a, _), pull = jax.vjp(coefficients_of, tuple(row[:-1]), init)
        g = row[-1] + p
        dpre, more = pull((carry_term(g, following, reset), g))
        return (carry_term(a, g, reset), init, dinit + more), dpre

    dpre, (dh0, _, dinit) = walk(
        kernel,
        step,
        affine,
        (*pre, dh),
        _flags(reset, mask),
        (dlast, init, jnp.zeros_like(init)),
        tuple(x.dtype for x in pre),
        ahead=(h, h0),
        backwards=not reverse,
    )
    return dpre, dh0, dinit


def _against_time(row, code):
    """The transposed recurrence carries `p[t] = a[t] (dh[t] + p[t+1])`, as coefficients of p."""
    a, dh = row
    cut = _has(code, RESET)
    return a, carry_term(a, dh, cut), cut


def _has(code: Array | None, bit: int) -> Array | None:
    return None if code is None else (code & bit) != 0


def _flags(reset: Array | None, mask: Array | None) -> Array | None:
    """Both flags, (*batch, time, 1), in one number a row, (*batch, time)."""
    if reset is None and mask is None:
        return None
    cut = 0 if reset is None else jnp.where(reset, RESET, 0)
    hold = 0 if mask is None else jnp.where(mask, 0, HOLD)
    return (cut | hold)[..., 0].astype(jnp.int32)


def _bits(reset, mask):
    """A function from a row's flag to its reset and mask, None where there is none to any row."""

    def bits(code):
        cut = None if reset is None else _has(code, RESET)
        keep = None if mask is None else (code & HOLD) == 0
        return cut, keep

    return bits
