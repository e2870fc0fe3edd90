"""Frozen dataclasses as JSON values and back, exactly: arrays, infinities and dates included.

A dataclass is an object of its fields. An array is an object with `dtype`, `shape` and `values` in
row-major order; a date is its number in the unit of the dtype. A number that JSON lacks is the
string "nan", "inf" or "-inf". A field with the metadata `RUN_DATA` is omitted, and of a path only
the name is kept: a bundle has neither the data nor the folders of the machine that made it.
"""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.tasks.predictions import RUN_DATA

DTYPE = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)|datetime64\[(Y|M|W|D|h|m|s|ms|us|ns)\]")
NONFINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
MAX_AXES = 32


def dump(value: Any) -> Any:
    """Returns a value as JSON values.

    Raises:
      ValueError: a part is not a number, string, flag, None, path, array, dataclass, mapping or
        sequence of these.

    >>> dump((1.5, float("inf"), np.array([[1, 2]], np.int32)))
    [1.5, 'inf', {'dtype': 'int32', 'shape': [1, 2], 'values': [1, 2]}]
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, np.ndarray | np.generic):
        return _dump_array(np.asarray(value))
    if isinstance(value, Path):
        return value.name
    if dataclasses.is_dataclass(value):
        return {field.name: dump(getattr(value, field.name)) for field in kept_fields(value)}
    if isinstance(value, Mapping):
        return {str(name): dump(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [dump(part) for part in value]
    raise ValueError(
        f"a value of a bundle must be a number, string, flag, array, dataclass or a sequence of "
        f"these, got a {type(value).__name__}; convert it"
    )


def load(hint: Any, value: Any, where: str) -> Any:
    """Returns a value of the annotated type `hint` from the output of `dump`.

    Every field must be there, and no other, except those that `dump` omits, which get their
    defaults.

    Raises:
      ValueError: a field is unknown or missing, or a part is of another type; names it.

    >>> load(tuple[float, ...], [1.5, "inf"], "scales")
    (1.5, inf)
    >>> load(int, "7", "steps")
    Traceback (most recent call last):
    ValueError: steps must be int, got '7'; restore it
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (a for a in arguments if a is not type(None))
        return load(inner, value, where)
    if origin is typing.Literal:
        return (
            value if isinstance(value, str) and value in arguments else _refuse(hint, value, where)
        )
    if origin is tuple and isinstance(value, list):
        inner = [arguments[0]] * len(value) if arguments[-1] is ... else list(arguments)
        if len(inner) == len(value):
            parts = enumerate(zip(inner, value, strict=True))
            return tuple(load(of, part, f"{where}[{k}]") for k, (of, part) in parts)
    if origin is not None and issubclass(origin, Mapping) and isinstance(value, dict):
        key, of = arguments
        return {_load_key(key, k, where): load(of, x, f"{where}.{k}") for k, x in value.items()}
    if hint is np.ndarray:
        return _load_array(value, where)
    if hint is Path and isinstance(value, str) and value == Path(value).name not in ("", ".."):
        return Path(value)
    if hint is float and isinstance(value, str) and value in NONFINITE:
        return NONFINITE[value]
    if hint is float and type(value) in (int, float):
        return _load_float(value, where)
    if dataclasses.is_dataclass(hint):
        return load_dataclass(hint, value, where)
    if hint in (bool, int, str) and type(value) is hint:
        return value
    return _refuse(hint, value, where)


def load_dataclass(kind: type, value: Any, where: str) -> Any:
    """Returns a dataclass from an object with exactly its kept fields, see `load`."""
    fields = {field.name for field in kept_fields(kind)}
    require_keys(value, fields, where)
    hints = typing.get_type_hints(kind)
    parts = {name: load(hints[name], part, f"{where}.{name}") for name, part in value.items()}
    try:
        return kind(**parts)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def require_keys(value: Any, names: set[str], where: str) -> None:
    """Raises ValueError unless a value is a JSON object with exactly these keys."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a JSON object, got {_shown(value)}; restore it")
    if unknown := value.keys() - names:
        raise ValueError(f"{where} must not have the key {_shown(min(unknown))}; remove it")
    if missing := names - value.keys():
        raise ValueError(f"{where} must have the key {min(missing)!r}, got none; restore it")


def kept_fields(kind: Any) -> list[dataclasses.Field]:
    """Returns the fields of a dataclass that do not hold data of a run."""
    return [f for f in dataclasses.fields(kind) if not f.metadata.keys() & RUN_DATA.keys()]


def _dump_array(x: np.ndarray) -> dict[str, Any]:
    if not DTYPE.fullmatch(str(x.dtype)):
        raise ValueError(f"an array of a bundle must be of numbers or dates, got {x.dtype}")
    flat = x.reshape(-1)
    numbers = flat.view(np.int64) if x.dtype.kind == "M" else flat
    return {"dtype": str(x.dtype), "shape": list(x.shape), "values": dump(numbers.tolist())}


def _load_array(value: Any, where: str) -> np.ndarray:
    require_keys(value, {"dtype", "shape", "values"}, where)
    dtype, shape, values = value["dtype"], value["shape"], value["values"]
    if not isinstance(dtype, str) or not DTYPE.fullmatch(dtype):
        raise ValueError(f"{where}.dtype must be that of numbers or dates, got {_shown(dtype)}")
    if not isinstance(values, list):
        _refuse(list, values, f"{where}.values")
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_AXES
        or not all(type(n) is int and n >= 0 for n in shape)
        or math.prod(shape) != len(values)
    ):
        raise ValueError(
            f"{where}.shape must be that of {len(values)} values, got {_shown(shape)}; restore it"
        )
    kind = np.dtype(dtype).kind
    of = {"b": bool, "f": float}.get(kind, int)
    parts = [load(of, x, f"{where}.values") for x in values]
    try:
        numbers = np.array(parts, np.int64 if kind == "M" else dtype)
    except OverflowError:
        raise ValueError(f"{where}.values must fit into {dtype}; restore it") from None
    return numbers.astype(dtype, copy=False).reshape(shape)


def _load_float(value: float, where: str) -> float:
    try:
        return float(value)
    except OverflowError:
        return _refuse(float, value, where)


def _load_key(kind: type, name: str, where: str) -> Any:
    if kind is int:
        if not re.fullmatch(r"-?[0-9]{1,18}", name):
            raise ValueError(f"{where} must have integers as keys, got {_shown(name)}; restore it")
        return int(name)
    return name


def _refuse(hint: Any, value: Any, where: str) -> typing.NoReturn:
    name = getattr(hint, "__name__", str(hint)) if typing.get_origin(hint) is None else str(hint)
    raise ValueError(f"{where} must be {name}, got {_shown(value)}; restore it")


def _shown(value: Any) -> str:
    """A value in a message: short, also where it is huge or nested."""
    if isinstance(value, list | dict):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
