"""A digest of an array that no mesh and no number of processes changes.

SHA-256 reads an array's bytes in order, on one host. This digest is four sums over the elements,
modulo 2^32, of their bits times an odd number that depends on the element's place in the whole
array. Integer sums have no order, so each device sums its own part and the parts are added. The
factor of a bit is odd times a power of two, which is never 0 modulo 2^32: one flipped bit changes
all four sums.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

SEEDS = 0x9E3779B9, 0x7F4A7C15, 0xF39CC060, 0x5CEDC834
"""Numbers added to the place of an element, one per sum."""

MULTIPLIERS = 0x85EBCA6B, 0xC2B2AE35
"""Constants of MurmurHash3's final mix."""

BLOCK = 1 << 20
"""Number of elements of a host array that are summed together."""


def digest(x: Any) -> str:
    """Returns the digest of an array as 32 hexadecimal digits.

    Args:
      x: a host array, or an array on the devices of all processes, which all of them must pass.

    >>> x = np.arange(6, dtype=np.float32).reshape(2, 3)
    >>> digest(x) == digest(jnp.asarray(x)), digest(x) == digest(x[::-1])
    (True, False)
    """
    return digests({"": x})[""]


def digests(arrays: Mapping[str, Any]) -> dict[str, str]:
    """Returns the digests of several arrays by name, see `digest`."""
    on_devices = {name: x for name, x in arrays.items() if isinstance(x, jax.Array)}
    sums = {name: _host_sums(np.asarray(x)) for name, x in arrays.items() if name not in on_devices}
    for name, x in on_devices.items():
        whole = None
        if isinstance(x.sharding, NamedSharding):
            whole = NamedSharding(x.sharding.mesh, PartitionSpec())
        sums[name] = np.asarray(_device_sums(whole)(x))
    return {name: "".join(f"{int(lane):08x}" for lane in sums[name]) for name in arrays}


@cache
def _device_sums(sharding: Any) -> Any:
    """Returns the compiled sums of an array, with a copy of the result on each device."""

    def sums(x: jax.Array) -> jax.Array:
        words = _words(x)
        place = jnp.zeros(words.shape, jnp.uint32)
        stride = 1
        for axis in reversed(range(words.ndim)):
            iota = jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
            place += iota * jnp.uint32(stride % 2**32)
            stride *= words.shape[axis]
        lanes = [jnp.sum(words * _odd(place, seed, jnp), dtype=jnp.uint32) for seed in SEEDS]
        return jnp.stack(lanes)

    return jax.jit(sums, out_shardings=sharding)


def _words(x: jax.Array) -> jax.Array:
    """Returns the bits of an array as uint32; elements of 8 bytes become two along a last axis."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        x = jnp.stack([x.real, x.imag], -1)
    if x.dtype == jnp.bool_:
        x = x.astype(jnp.uint8)
    kind = {1: jnp.uint8, 2: jnp.uint16}.get(x.dtype.itemsize, jnp.uint32)
    return jax.lax.bitcast_convert_type(x, kind).astype(jnp.uint32)


def _host_sums(x: np.ndarray) -> np.ndarray:
    kind = {1: np.uint8, 2: np.uint16}.get(x.dtype.itemsize, np.uint32)
    words = np.ascontiguousarray(x).reshape(-1).view(kind)
    sums = np.zeros(len(SEEDS), np.uint32)
    for start in range(0, words.size, BLOCK):
        block = words[start : start + BLOCK].astype(np.uint32)
        place = np.arange(start, start + block.size, dtype=np.uint64).astype(np.uint32)
        sums += np.array(
            [np.sum(block * _odd(place, seed, np), dtype=np.uint32) for seed in SEEDS], np.uint32
        )
    return sums


def _odd(place: Any, seed: int, numpy: Any) -> Any:
    """Returns an odd number per place, uint32."""
    mixed = place + numpy.uint32(seed)
    for shift, multiplier in zip((16, 13), MULTIPLIERS, strict=True):
        mixed = (mixed ^ (mixed >> numpy.uint32(shift))) * numpy.uint32(multiplier)
    return (mixed ^ (mixed >> numpy.uint32(16))) | numpy.uint32(1)
