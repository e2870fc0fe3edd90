"""Arrays in the safetensors format, whose header is checked before any array is made.

The file is the length of the header (8 bytes, little endian), the header (JSON: of each array the
dtype, the shape and the offsets) and the arrays, one after the other.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors.numpy import save

from rnnlab.atomic_io import parse_json
from rnnlab.bundle.encodings import Stored
from rnnlab.bundle.values import require_keys

DTYPES = {
    "float32": "F32",
    "float16": "F16",
    "float64": "F64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "uint8": "U8",
}
"""Names in the header of a file by the dtype of an array."""

MAX_HEADER_BYTES = 16 << 20
LENGTH_BYTES = 8


def encode_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns the content of a file that holds the arrays.

    >>> content = encode_arrays({"bias": np.ones(2, np.float32)})
    >>> decode_arrays(content, {"bias": Stored("float32", (2,))}, "weights")
    {'bias': array([1., 1.], dtype=float32)}
    """
    return save({name: np.ascontiguousarray(x) for name, x in arrays.items()})


def decode_arrays(
    content: bytes, expected: Mapping[str, Stored], where: str
) -> dict[str, np.ndarray]:
    """Returns the arrays of a file's content, read-only views of it.

    Args:
      content: of the file.
      expected: dtype and shape of each array.
      where: name of the file, for messages.

    Raises:
      ValueError: the header is invalid, or the arrays are not those expected.
    """
    length = header_length(content[:LENGTH_BYTES], len(content), where)
    start = LENGTH_BYTES + length
    offsets = array_offsets(content[LENGTH_BYTES:start], len(content) - start, expected, where)
    return {
        name: np.frombuffer(
            content, stored.dtype, math.prod(stored.shape), start + offsets[name]
        ).reshape(stored.shape)
        for name, stored in expected.items()
    }


def header_length(prefix: bytes, size: int, where: str) -> int:
    """Returns the length of the header in bytes.

    Args:
      prefix: the first 8 bytes of the file.
      size: of the file in bytes.
      where: name of the file, for messages.

    Raises:
      ValueError: the header is longer than the file or than `MAX_HEADER_BYTES`.
    """
    length = int.from_bytes(prefix, "little")
    limit = min(size - LENGTH_BYTES, MAX_HEADER_BYTES)
    if len(prefix) < LENGTH_BYTES or length > limit:
        raise ValueError(
            f"{where} must have a header of at most {max(limit, 0)} bytes, got {length}; restore "
            "it from a copy"
        )
    return length


def array_offsets(
    header: bytes, size: int, expected: Mapping[str, Stored], where: str
) -> dict[str, int]:
    """Returns where each array starts behind the header.

    Args:
      header: without its length.
      size: bytes behind the header, which the arrays must fill without gaps.
      expected: dtype and shape of each array.
      where: name of the file, for messages.

    Raises:
      ValueError: the header is invalid, or the arrays are not those expected.
    """
    found = parse_json(header, f"the header of {where}")
    require_keys(found, set(expected), f"the header of {where}")
    spans: list[tuple[int, int, str]] = []
    for name, stored in expected.items():
        entry, of = found[name], f"{where}: array {name!r}"
        require_keys(entry, {"dtype", "shape", "data_offsets"}, of)
        if (entry["dtype"], entry["shape"]) != (DTYPES[stored.dtype], list(stored.shape)):
            raise ValueError(
                f"{of} must be {stored.dtype} of shape {list(stored.shape)}, got "
                f"{entry['dtype']!s:.20} of shape {entry['shape']!s:.60}; restore it from a copy"
            )
        spans.append((*_offsets(entry["data_offsets"], of), name))
    end = 0
    for first, last, name in sorted(spans):
        stored = expected[name]
        count = math.prod(stored.shape) * np.dtype(stored.dtype).itemsize
        if (first, last) != (end, end + count):
            raise ValueError(
                f"{where}: array {name!r} must be at bytes {end} to {end + count} behind the "
                f"header, got {first} to {last}; restore it from a copy"
            )
        end = last
    if end != size:
        raise ValueError(
            f"{where} must have {end} bytes behind its header, got {size}; restore it from a copy"
        )
    return {name: first for first, _, name in spans}


def _offsets(value: Any, where: str) -> tuple[int, int]:
    if isinstance(value, list) and len(value) == 2 and all(type(n) is int for n in value):
        return value[0], value[1]
    raise ValueError(f"{where} must have two offsets, got {value!s:.60}; restore it from a copy")
