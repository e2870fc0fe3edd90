"""Convert settings, frozen dataclasses, to JSON values and back."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def dump(value: Any) -> Any:
    """Returns a settings dataclass as JSON values.

    >>> from rnnlab.train.config import TrainConfig
    >>> load(TrainConfig, dump(TrainConfig(steps=3))) == TrainConfig(steps=3)
    True
    """
    if dataclasses.is_dataclass(value):
        return {f.name: dump(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: dump(v) for name, v in value.items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [dump(v) for v in value]
    return value


def load(kind: type, value: Any, where: str = "config") -> Any:
    """Returns a dataclass of type `kind` from the output of `dump`.

    A missing field gets its default, so that the settings of earlier versions can be read.

    Raises:
      ValueError: a field is unknown, of another type, or missing without a default, or the class
        rejects a value; names it.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a JSON object, got {value!r}; correct it")
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    names = [f.name for f in fields]
    for name in value.keys() - set(names):
        raise ValueError(f"{where}.{name} is unknown; the fields are {', '.join(names)}")
    for field in fields:
        missing = dataclasses.MISSING
        needed = field.default is missing and field.default_factory is missing
        if needed and field.name not in value:
            raise ValueError(f"{where}.{field.name} is missing; add it")
    values = {name: _read(hints[name], x, f"{where}.{name}") for name, x in value.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _read(hint: Any, value: Any, where: str) -> Any:
    """Returns `value` as an instance of the annotation `hint`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (a for a in arguments if a is not type(None))
        return _read(inner, value, where)
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise ValueError(f"{where} must be one of {arguments}, got {value!r}; correct it")
    if origin is tuple and isinstance(value, list):
        inner = [arguments[0]] * len(value) if arguments[-1] is ... else arguments
        if len(inner) == len(value):
            return tuple(_read(h, v, where) for h, v in zip(inner, value, strict=True))
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError(
                f"{where} must be a finite number, got one that is too large; lower it"
            ) from None
    if (
        isinstance(hint, type)
        and isinstance(value, hint)
        and (hint is bool) == isinstance(value, bool)  # to Python a bool is an int
    ):
        return value
    expected = getattr(hint, "__name__", hint)
    raise ValueError(f"{where} must be {expected}, got {value!r}; correct it")
