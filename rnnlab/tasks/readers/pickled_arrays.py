"""Arrays of arrays in `.npy` form, read without unpickling: no name in the file is imported.

NumPy writes an array of objects as a pickle, and to unpickle a file runs what it names. This reader
interprets only the instructions that NumPy writes for arrays of numbers, as data. Any other one,
and any other name, is an error.
"""

import io
import pickletools
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnlab.tasks.readers.errors import data_error

MARK = object()
"""What the instruction MARK puts on the stack."""

RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
NAMES = {*RECONSTRUCT, "numpy ndarray", "numpy dtype", "_codecs encode"}
"""The names that may be in a file. They are compared, never looked up."""

DTYPE = re.compile(r"[iuf][1248]|b1|O8?", re.ASCII)
VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINSTRING", "SHORT_BINSTRING", "BINBYTES"),
    *("SHORT_BINBYTES", "BINUNICODE", "SHORT_BINUNICODE"),
}
"""Instructions that put their argument on the stack."""

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Name(NamedTuple):
    text: str


class _DType:
    """A dtype: its kind and size, and later its byte order."""

    def __init__(self, text: str):
        self.text, self.order = text, "|"


class _Array:
    """An array whose content follows."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None
        self.members: list[Any] | None = None


class _Invalid(Exception):
    """An instruction that NumPy does not write for arrays of numbers."""


def read_array_of_arrays(path: Path, name: str, raw: bytes) -> list[np.ndarray]:
    """Returns the arrays of numbers that an array of objects has.

    Args:
      path: of the archive, for messages.
      name: of the member, for messages.
      raw: the content of the member, in `.npy` form.

    Raises:
      DataError: it is not such an array, or is corrupt.

    >>> file = io.BytesIO()
    >>> pair = np.empty(2, object)
    >>> pair[:] = [np.array([1, 2], np.int16), np.array([3.5])]
    >>> np.save(file, pair)
    >>> [x.tolist() for x in read_array_of_arrays(Path("a.npz"), "a.npy", file.getvalue())]
    [[1, 2], [3.5]]
    """
    file = io.BytesIO(raw)
    try:
        version = np.lib.format.read_magic(file)
        reader = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        _, _, dtype = reader(file)
        if dtype.kind != "O":
            raise _Invalid(f"must be an array of arrays, got {dtype}")
        found = _interpret(file)
    except _Invalid as error:
        raise data_error(path, f"{error}; save arrays of numbers only", member=name) from None
    except Exception as error:  # corrupt bytes make the parsers raise any kind
        reason = f"cannot be read: {error}; copy the file again"
        raise data_error(path, reason, member=name) from None
    return found


def _interpret(file: io.BytesIO) -> list[np.ndarray]:
    """Runs the instructions on a stack of plain values."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for instruction, argument, _ in pickletools.genops(file):
        name = instruction.name
        if name in VALUES:
            stack.append(argument)
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in TUPLES:
            count = TUPLES[name]
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "TUPLE":
            items = _since_mark(stack)
            stack.append(tuple(items))
        elif name == "MARK":
            stack.append(MARK)
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name in ("APPENDS", "APPEND"):
            items = _since_mark(stack) if name == "APPENDS" else [stack.pop()]
            stack[-1].extend(items)
        elif name == "GLOBAL":
            stack.append(_allowed(argument))
        elif name == "STACK_GLOBAL":
            module, attribute = stack[-2:]
            stack[-2:] = [_allowed(f"{module} {attribute}")]
        elif name == "REDUCE":
            function, arguments = stack[-2:]
            stack[-2:] = [_made(function, arguments)]
        elif name == "BUILD":
            state = stack.pop()
            _set_state(stack[-1], state)
        elif name == "STOP":
            break
        elif name not in ("PROTO", "FRAME"):
            raise _Invalid(f"must have only instructions of arrays, got {name}")
    (whole,) = stack
    if not isinstance(whole, _Array) or whole.members is None:
        raise _Invalid("must be an array of arrays")
    arrays = [x.value if isinstance(x, _Array) else None for x in whole.members]
    if any(x is None for x in arrays):
        raise _Invalid("must be an array of arrays of numbers")
    return arrays


def _since_mark(stack: list[Any]) -> list[Any]:
    """Removes the values since the last mark from the stack, and returns them."""
    start = max(k for k, x in enumerate(stack) if x is MARK)
    items = stack[start + 1 :]
    del stack[start:]
    return items


def _allowed(text: str) -> _Name:
    if text not in NAMES:
        raise _Invalid(f"must name only arrays of NumPy, got {text[:60]!r}")
    return _Name(text)


def _made(function: Any, arguments: Any) -> Any:
    """The result of a call, of which only those that NumPy writes are known."""
    name = function.text if isinstance(function, _Name) else ""
    if name in RECONSTRUCT and arguments[0] == _Name("numpy ndarray"):
        return _Array()
    if name == "numpy dtype" and isinstance(arguments[0], str) and DTYPE.fullmatch(arguments[0]):
        return _DType(arguments[0])
    if name == "_codecs encode" and arguments[1] == "latin1":
        return arguments[0].encode("latin-1")
    raise _Invalid("must have only arrays of numbers")


def _set_state(target: Any, state: Any) -> None:
    """Gives a dtype its byte order, or an array its content."""
    if isinstance(target, _DType):
        target.order = state[1]
        return
    if not isinstance(target, _Array):
        raise _Invalid("must have only arrays of numbers")
    _, shape, dtype, is_fortran, content = state
    if dtype.text.startswith("O"):
        target.members = list(content)
        return
    raw = content.encode("latin-1") if isinstance(content, str) else content
    numbers = np.frombuffer(raw, np.dtype(dtype.order + dtype.text))
    target.value = numbers.reshape(shape, order="F" if is_fortran else "C")
