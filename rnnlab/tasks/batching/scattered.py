"""Pseudorandom permutations that are computed for single indices, without memory."""

import functools

import numpy as np

from rnnlab.tasks.data import RngStream, rng_for

ROUNDS = 6
"""Rounds of the Feistel network."""


def scattered(indices: np.ndarray, size: int, *numbers: int) -> np.ndarray:
    """Returns the images of indices under the permutation of 0 to size - 1 drawn from `numbers`.

    A Feistel network permutes the numbers of an even number of bits: each round combines one half
    with a hash of the other by exclusive or. An image that is not below `size` is permuted again,
    on average less than 3 times, since the network has less than 4 times `size` numbers.

    Args:
      indices: of int64, each in [0, size).
      size: number of indices, at most 2**62.
      *numbers: what the permutation is drawn from, such as a seed and an epoch.

    Returns:
      (indices,) of int64, each in [0, size).

    Source: Black and Rogaway (2002), Ciphers with arbitrary finite domains: the generalized Feistel
    cipher and cycle walking. The hash is the finalizer of SplitMix64, which is not a cipher.

    >>> sorted(scattered(np.arange(5), 5, 0).tolist())
    [0, 1, 2, 3, 4]
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    keys = _keys(*numbers)
    images = np.array(indices, np.uint64)
    outside = np.ones(images.shape, bool)
    while outside.any():
        images[outside] = _permuted(images[outside], half, keys)
        outside = images >= np.uint64(size)
    return images.astype(np.int64)


def _permuted(values: np.ndarray, half: int, keys: np.ndarray) -> np.ndarray:
    """One pass of the network on numbers of `2 * half` bits."""
    bits, mask = np.uint64(half), np.uint64(2**half - 1)
    left, right = values >> bits, values & mask
    for key in keys:
        left, right = right, (left ^ _hash(right ^ key)) & mask
    return (left << bits) | right


def _hash(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@functools.lru_cache(maxsize=64)
def _keys(*numbers: int) -> np.ndarray:
    keys = rng_for(RngStream.ORDER, *numbers).integers(2**64, size=ROUNDS, dtype=np.uint64)
    keys.flags.writeable = False
    return keys
