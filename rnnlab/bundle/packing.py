"""Integers of few bits packed into bytes, one row per output channel of a weight."""

import numpy as np


def to_rows(array: np.ndarray, channel_axis: int) -> np.ndarray:
    """Returns an array as one row per output channel, (channels, inputs).

    >>> to_rows(np.arange(6).reshape(3, 2), -1).tolist()
    [[0, 2, 4], [1, 3, 5]]
    """
    rows = np.moveaxis(array, channel_axis, 0)
    return np.ascontiguousarray(rows.reshape(len(rows), -1))


def from_rows(rows: np.ndarray, shape: tuple[int, ...], channel_axis: int) -> np.ndarray:
    """Returns the array of a shape whose rows by output channel are `rows`.

    >>> from_rows(to_rows(np.arange(6).reshape(3, 2), -1), (3, 2), -1).tolist()
    [[0, 1], [2, 3], [4, 5]]
    """
    others = [size for axis, size in enumerate(shape) if axis != channel_axis % len(shape)]
    moved = rows.reshape(len(rows), *others)
    return np.ascontiguousarray(np.moveaxis(moved, 0, channel_axis))


def packed_bytes(count: int, bits: int) -> int:
    """Returns the bytes of a row of integers.

    >>> packed_bytes(5, 6)
    4
    """
    return -(-count * bits // 8)


def pack(integers: np.ndarray, bits: int) -> np.ndarray:
    """Returns rows of integers packed in two's complement, the first one in the lowest bits.

    Two integers of 4 bits share a byte, four of 6 bits share three bytes.

    Args:
      integers: int8 (rows, count), in the range of `bits`.
      bits: 2 to 7.

    Returns:
      uint8 (rows, bytes).

    >>> pack(np.array([[1, -2, 7]], np.int8), 4).tolist()
    [[225, 7]]
    """
    unsigned = integers.view(np.uint8)[..., None]
    planes = np.unpackbits(unsigned, axis=-1, count=bits, bitorder="little")
    return np.packbits(planes.reshape(len(integers), -1), axis=-1, bitorder="little")


def unpack(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Returns the integers that `pack` was given, int8 (rows, count).

    >>> unpack(np.array([[225, 7]], np.uint8), 4, 3).tolist()
    [[1, -2, 7]]
    """
    planes = np.unpackbits(packed, axis=-1, count=count * bits, bitorder="little")
    planes = planes.reshape(len(packed), count, bits)
    unsigned = np.packbits(planes, axis=-1, bitorder="little")[..., 0]
    sign = np.uint8(1 << (bits - 1))
    return ((unsigned ^ sign) - sign).view(np.int8)
