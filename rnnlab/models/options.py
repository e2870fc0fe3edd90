"""The options of a cell: the keyword-only parameters of its constructor that settings can hold."""

import inspect
import re
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from flax import nnx

INITIAL_STATE_INITS = ("initial_state_init", "carry_init")
LEARN_INITIAL_STATE = "learn_initial_state"


class CellOption(NamedTuple):
    """An option of a cell.

    Attributes:
      type: annotation of the parameter.
      default: its default.
      help: its description in the class's docstring, without a final period.
    """

    type: Any
    default: Any
    help: str


@cache
def cell_options(cls: type) -> dict[str, CellOption]:
    """Returns the options of a cell class by name, in the order of its constructor.

    An option is a keyword-only parameter with a default whose annotation is a number, a flag, a
    string, a path, a tuple of these, or one of them or None. Initializers and dtypes are not.

    >>> from rnnlab import GRU
    >>> cell_options(GRU)["reset_after"].default
    True
    """
    parameters = _keyword_only(cls)
    options = {
        name: CellOption(hint, default, _help(cls, name))
        for name, (hint, default) in parameters.items()
        if default is not inspect.Parameter.empty and _is_setting(hint)
    }
    if not parameters.keys().isdisjoint(INITIAL_STATE_INITS):
        help_text = "whether the initial state is a parameter, drawn from N(0, 1)"
        options.setdefault(LEARN_INITIAL_STATE, CellOption(bool, False, help_text))
    return options


def constructor_arguments(cls: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keyword arguments of a cell's constructor for its options."""
    parameters = _keyword_only(cls)
    arguments = dict(options)
    if LEARN_INITIAL_STATE in arguments and LEARN_INITIAL_STATE not in parameters:
        (name,) = parameters.keys() & set(INITIAL_STATE_INITS)
        learned = arguments.pop(LEARN_INITIAL_STATE)
        arguments[name] = nnx.initializers.normal(1.0) if learned else None
    return arguments


def _keyword_only(cls: type) -> dict[str, tuple[Any, Any]]:
    """Returns annotation and default of the keyword-only parameters by name.

    Where a constructor passes `**options` on, those of the next class in the MRO follow.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        if init is None or base is object:
            continue
        hints = typing.get_type_hints(init)
        parameters = inspect.signature(init).parameters.values()
        for parameter in parameters:
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name in hints:
                found.setdefault(parameter.name, (hints[parameter.name], parameter.default))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def _is_setting(hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return True
    if origin is tuple:
        return all(_is_setting(a) for a in arguments if a is not ...)
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in arguments if a is not type(None)]
        return len(inner) == 1 and _is_setting(inner[0])
    return hint in (bool, int, float, str, Path)


def _help(cls: type, name: str) -> str:
    """Returns what the docstring of the class, or of one of its bases, says of an argument."""
    for base in cls.__mro__:
        doc = inspect.cleandoc(base.__doc__ or "")
        match = re.search(rf"^  (?:\w+, )*{name}(?:, \w+)*: (.*(?:\n    .*)*)", doc, re.MULTILINE)
        if match:
            return " ".join(match[1].split()).rstrip(".")
    return ""
