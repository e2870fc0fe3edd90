"""The operations of the scan as kernels: the function that each kernel runs at a time step.

`rnnlab.scan.pallas.driver` runs a kernel over time with a carried state. The functions here, one
per operation, define what is computed at a time step. The coefficients of a gated recurrence and
their derivatives are computed there too, so every operation reads its operands once and writes its
results once: 3 N numbers forward and 5 N backward for `scan`, 3 N and 6 N for a gated scan of two
pre-activations.

Kernels are used where JAX has them and the states are float32. `available_kernels` returns them.
The GPU's were measured on an H200. The TPU's have not been run on a device: tests interpret them
on a CPU and lower them.
"""

import importlib

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from rnnlab.scan.affine import CoefficientFn, GatedOperands, carry_term, flagged_coefficients
from rnnlab.scan.pallas.driver import KernelBackend, run_kernel

RESET, MASKED = 1, 2
"""Bits of the flags of a time step: the state is reset; the state is kept."""


def available_kernels(dtype: DTypeLike) -> dict[str, KernelBackend]:
    """Returns the kernels for states of `dtype` that can be lowered, by the name of the platform.

    A GPU kernel needs a GPU of compute capability 9.0 (Hopper) or later; where no GPU is visible,
    the program is assumed to be for one. JAX calls its kernel language experimental and renames
    parts of it between releases: where this JAX lacks one, the kernel is not available.
    """
    found = {}
    if jnp.dtype(dtype) != jnp.float32:
        return found
    for platform, name in (("cuda", "mosaic_gpu"), ("tpu", "mosaic_tpu")):
        try:
            module = importlib.import_module(f"rnnlab.scan.pallas.{name}")
        except (ImportError, AttributeError, TypeError):
            continue
        if platform != "cuda" or _has_tensor_memory_accelerator():
            found[platform] = KernelBackend(
                module.scan_kernel, module.BLOCK_FEATURES, module.num_time_chunks
            )
    return found


def default_kernels(dtype: DTypeLike, features: int) -> dict[str, KernelBackend]:
    """Returns the kernels that `backend="auto"` uses, among those of `available_kernels`.

    It is the GPU's, where exactly one is visible, since XLA cannot partition a kernel over devices,
    and where no features have to be padded, which costs more than the kernel saves. The TPU's has
    not been measured.
    """
    if len(_compute_capabilities()) != 1:
        return {}
    found = available_kernels(dtype).get("cuda")
    return {} if found is None or features % found.block_features else {"cuda": found}


def _has_tensor_memory_accelerator() -> bool:
    return all(capability >= 9 for capability in _compute_capabilities())


def _compute_capabilities() -> list[float]:
    """Returns those of all visible NVIDIA GPUs."""
    try:
        return [float(device.compute_capability) for device in jax.devices("cuda")]
    except RuntimeError:
        return []


def scan(
    backend: KernelBackend, a: Array, b: Array, h0: Array, reset: Array | None, *, reverse: bool
) -> tuple[Array, Array]:
    """Returns all states, in b's dtype, and the last one. The state is kept in h0's dtype."""

    def affine(inputs, flags):
        return *inputs, _is_set(flags, RESET)

    def step(carries, inputs, lookahead, flags):
        h = inputs[1] + carry_term(inputs[0], carries[0], _is_set(flags, RESET))
        return (h,), (h,)

    (h,), (last,) = run_kernel(
        backend,
        step,
        affine,
        (a, b),
        _encode_flags(reset, None),
        (h0,),
        (b.dtype,),
        reverse=reverse,
    )
    return h, last


def transposed_scan(
    backend: KernelBackend, a: Array, dh: Array, dlast: Array, reset: Array | None, *, reverse: bool
) -> tuple[Array, Array]:
    """Returns the cotangents of `scan`'s b and h0 from those of its two results."""

    def step(carries, inputs, lookahead, flags):
        g = inputs[1] + carries[0]
        return (carry_term(inputs[0], g, _is_set(flags, RESET)),), (g,)

    (g,), (dh0,) = run_kernel(
        backend,
        step,
        _reverse_affine,
        (a, dh),
        _encode_flags(reset, None),
        (dlast,),
        (dh.dtype,),
        reverse=not reverse,
    )
    return g, dh0


def scan_vjp(
    backend: KernelBackend,
    a: Array,
    h: Array,
    h0: Array,
    dh: Array,
    dlast: Array,
    reset: Array | None,
    *,
    reverse: bool,
) -> tuple[Array, Array, Array]:
    """Returns the cotangents of `scan`'s a, b and h0 from those of its two results."""

    def step(carries, inputs, lookahead, flags):
        g, reset = inputs[1] + carries[0], _is_set(flags, RESET)
        return (carry_term(inputs[0], g, reset),), (carry_term(g, lookahead, reset), g)

    (da, db), (dh0,) = run_kernel(
        backend,
        step,
        _reverse_affine,
        (a, dh),
        _encode_flags(reset, None),
        (dlast,),
        (a.dtype, dh.dtype),
        lookahead=(h, h0),
        reverse=not reverse,
    )
    return da, db, dh0


def gated_scan(
    backend: KernelBackend, coefficients: CoefficientFn, operands: GatedOperands, *, reverse: bool
) -> tuple[Array, Array]:
    """Computes `unfused.gated_scan` in one pass."""
    decode_flags = _decode_flags(operands)

    def affine(inputs, flags, reset_state, *params):
        reset, mask = decode_flags(flags)
        a, b = flagged_coefficients(coefficients, inputs, params, reset_state, reset, mask)
        return a, b, reset

    def step(carries, inputs, lookahead, flags):
        h, *constants = carries
        a, b, reset = affine(inputs, flags, *constants)
        h = b + carry_term(a, h, reset)
        return (h, *constants), (h,)

    (h,), (last, *_) = run_kernel(
        backend,
        step,
        affine,
        operands.preactivations,
        _encode_flags(operands.reset, operands.mask),
        (operands.h0, operands.reset_state, *operands.params),
        (operands.preactivations[-1].dtype,),
        reverse=reverse,
    )
    return h, last


def gated_vjp(
    backend: KernelBackend,
    coefficients: CoefficientFn,
    operands: GatedOperands,
    h: Array,
    dh: Array,
    dlast: Array,
    *,
    reverse: bool,
) -> GatedOperands:
    """Computes `unfused.gated_vjp` in one pass, against the direction of the recurrence."""
    decode_flags = _decode_flags(operands)
    constants = operands.reset_state, *operands.params
    count = len(constants)

    def affine(inputs, flags, reset_state, *others):
        reset, mask = decode_flags(flags)
        params = others[: count - 1]
        a, _ = flagged_coefficients(coefficients, inputs[:-1], params, reset_state, reset, mask)
        return a, carry_term(a, inputs[-1], reset), reset

    def step(carries, inputs, lookahead, flags):
        p, constants, sums = carries[0], carries[1 : 1 + count], carries[1 + count :]
        reset, mask = decode_flags(flags)

        def of(preactivations, constants):
            reset_state, *params = constants
            return flagged_coefficients(
                coefficients, preactivations, params, reset_state, reset, mask
            )

        (a, _), vjp = jax.vjp(of, tuple(inputs[:-1]), constants)
        g = inputs[-1] + p
        dpreactivations, terms = vjp((carry_term(g, lookahead, reset), g))
        sums = tuple(x + term for x, term in zip(sums, terms, strict=True))
        return (carry_term(a, g, reset), *constants, *sums), dpreactivations

    dpreactivations, (dh0, *others) = run_kernel(
        backend,
        step,
        affine,
        (*operands.preactivations, dh),
        _encode_flags(operands.reset, operands.mask),
        (dlast, *constants, *map(jnp.zeros_like, constants)),
        tuple(x.dtype for x in operands.preactivations),
        lookahead=(h, operands.h0),
        reverse=not reverse,
    )
    dreset_state, *dparams = others[count:]
    return GatedOperands(dpreactivations, tuple(dparams), dh0, dreset_state)


def _reverse_affine(inputs, flags):
    """The coefficients of the transposed recurrence, of `p[t] = a[t] (dh[t] + p[t+1])`."""
    a, dh = inputs
    reset = _is_set(flags, RESET)
    return a, carry_term(a, dh, reset), reset


def _is_set(flags: Array | None, bit: int) -> Array | None:
    return None if flags is None else (flags & bit) != 0


def _encode_flags(reset: Array | None, mask: Array | None) -> Array | None:
    """Returns both flags, (*batch, time, 1), as one int32 per time step, (*batch, time)."""
    if reset is None and mask is None:
        return None
    reset_bit = 0 if reset is None else jnp.where(reset, RESET, 0)
    mask_bit = 0 if mask is None else jnp.where(mask, 0, MASKED)
    return (reset_bit | mask_bit)[..., 0].astype(jnp.int32)


def _decode_flags(operands: GatedOperands):
    """Returns the inverse of `_encode_flags` for a time step: `flags -> (reset, mask)`."""

    def decode(flags):
        reset = None if operands.reset is None else _is_set(flags, RESET)
        mask = None if operands.mask is None else (flags & MASKED) == 0
        return reset, mask

    return decode
