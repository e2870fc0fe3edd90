"""Which options of a cell settings can hold, and what they mean to its constructor."""

import inspect
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from flax import nnx

from rnnlab.registry import CellOption, cell_options

INITIAL_STATE_INITS = frozenset({"initial_state_init", "carry_init"})
LEARN_INITIAL_STATE = "learn_initial_state"


@cache
def setting_options(cls: type) -> dict[str, CellOption]:
    """Returns the options of a cell class that can be settings, by name.

    They have a default, and their type is a number, a flag, a string, a path, a tuple of these, or
    one of them or None. A cell whose constructor takes an initializer of its initial state has the
    option `learn_initial_state` instead.

    >>> from rnnlab import GRU
    >>> setting_options(GRU)["reset_after"].default
    True
    """
    options = {
        name: option
        for name, option in cell_options(cls).items()
        if option.default is not inspect.Parameter.empty and _is_setting(option.type)
    }
    if _initial_state_init(cls):
        doc = "whether the initial state is a parameter, drawn from N(0, 1)"
        options.setdefault(LEARN_INITIAL_STATE, CellOption(bool, False, doc))
    return options


def constructor_arguments(cls: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keyword arguments of a cell's constructor for its options."""
    arguments = dict(options)
    if LEARN_INITIAL_STATE in arguments and LEARN_INITIAL_STATE not in cell_options(cls):
        learned = arguments.pop(LEARN_INITIAL_STATE)
        init = nnx.initializers.normal(1.0) if learned else None
        arguments[_initial_state_init(cls)] = init
    return arguments


def _initial_state_init(cls: type) -> str:
    """Returns the name of the initializer of the initial state, or an empty string."""
    names = INITIAL_STATE_INITS & inspect.signature(cls.__init__).parameters.keys()
    return next(iter(names), "")


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
