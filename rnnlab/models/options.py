"""Options of cells: parameters of their constructors that are settings of a model."""

import inspect
import re
import types
import typing
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple


class CellOption(NamedTuple):
    """A keyword-only parameter of a cell's constructor that a user may set by name.

    Attributes:
      type: its type annotation.
      default: its default value.
      doc: its line in the `Args` of the class docstring.
    """

    type: Any
    default: Any
    doc: str


NOT_OPTIONS = ("rngs", "dtype", "param_dtype")
"""Constructor parameters that a model sets for all of its layers."""


@cache
def cell_options(cls: type) -> dict[str, CellOption]:
    """Returns the options of a cell by name: the keyword-only parameters of its constructor.

    An option has a default, and its type is a number, a flag, a string, a path, a tuple of these,
    or one of them or None. `NOT_OPTIONS` are omitted. Where a constructor takes `**options`, those
    of its base class follow.

    Raises:
      ValueError: a type annotation of the constructor cannot be resolved.

    >>> from rnnlab import MinLSTM
    >>> options = cell_options(MinLSTM)
    >>> options["forget_bias"].default, options["decay_range"].default
    (0.0, (0, 1))
    """
    found: dict[str, CellOption] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        hints = _type_hints(base)
        for p in parameters:
            if p.kind is p.KEYWORD_ONLY and p.name not in found:
                doc = _argument_doc(cls, p.name)
                found[p.name] = CellOption(hints.get(p.name, Any), p.default, doc)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return {
        name: option
        for name, option in found.items()
        if name not in NOT_OPTIONS
        and option.default is not inspect.Parameter.empty
        and _is_setting(option.type)
    }


def _type_hints(cls: type) -> dict[str, Any]:
    """Returns the types of the parameters of a class's own constructor."""
    try:
        return typing.get_type_hints(vars(cls)["__init__"])
    except NameError as error:
        raise ValueError(
            f"the annotations of the constructor of {cls.__name__} must be names of its file: "
            f"{error}; import it there"
        ) from None


def _argument_doc(cls: type, name: str) -> str:
    """Returns the text of an argument in the `Args` section of a Google-style class docstring."""
    for base in cls.__mro__:
        section = re.search(r"^Args:\n(.*?)(?:\n\n|\Z)", inspect.getdoc(base) or "", re.M | re.S)
        entries = re.findall(
            r"^ {2}([\w, ]+): (.*(?:\n {3,}.*)*)", section[1] if section else "", re.M
        )
        for names, text in entries:
            if name in names.split(", "):
                return " ".join(text.split())
    return ""


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
