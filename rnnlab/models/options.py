"""Options of cells that can be settings of a model."""

import inspect
import types
import typing
from functools import cache
from pathlib import Path
from typing import Any

from rnnlab.registry import CellOption, cell_options


@cache
def setting_options(cls: type) -> dict[str, CellOption]:
    """Returns the options of a cell class that can be settings, by name.

    They have a default, and their type is a number, a flag, a string, a path, a tuple of these, or
    one of them or None.

    >>> from rnnlab import GRU
    >>> setting_options(GRU)["reset_after"].default
    True
    """
    return {
        name: option
        for name, option in cell_options(cls).items()
        if option.default is not inspect.Parameter.empty and _is_setting(option.type)
    }


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
