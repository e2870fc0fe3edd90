"""Griffe extension for mkdocstrings: examples, formulas and merged parameters of docstrings.

- Examples become blocks of code.
- Formulas become mathematics, see `docs_math`.
- Entries of parameters get their types and defaults, also where an entry is for several of them,
  such as `kernel_init, bias_init`, or a class passes a parameter on to its base class.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import griffe

sys.path.append(str(Path(__file__).parent))
import docs_math  # next to this file

EXAMPLE = re.compile(r"^([ ]*)>>> .*(?:\n\1\S.*|\n\1[ ]+\S.*)*", re.MULTILINE)
FORMULA = re.compile(r"(?<=\n\n)(?:    +\S.*(?:\n|\Z))+")
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


class Docstrings(griffe.Extension):
    """Rewrites docstrings for the site."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            text = EXAMPLE.sub(_fenced, obj.docstring.value)
            obj.docstring.value = SPAN.sub(_inline, FORMULA.sub(_displayed, text))
            if isinstance(obj, griffe.Class | griffe.Function):
                _complete_parameters(obj)


def _fenced(match: re.Match) -> str:
    indent = match[1]
    return f"{indent}```pycon\n{match[0]}\n{indent}```"


def _displayed(match: re.Match) -> str:
    try:
        return f"$$\n{docs_math.display([line.strip() for line in match[0].splitlines()])}\n$$\n"
    except docs_math.NotAFormulaError:
        return match[0]


def _inline(match: re.Match) -> str:
    return docs_math.inline(match[1])


def _complete_parameters(obj: griffe.Class | griffe.Function) -> None:
    """Completes the types and defaults of entries.

    An entry of several parameters gets those of all of them. A parameter that a class passes on to
    its base class gets those of the base class.
    """
    owners = [obj, *(obj.mro() if obj.is_class else ())]
    for section in obj.docstring.parsed:
        if section.kind is griffe.DocstringSectionKind.parameters:
            for entry in section.value:
                found = [_parameter(owners, name) for name in entry.name.split(", ")]
                if all(found):
                    entry.annotation = _joined(p.annotation for p in found)
                    entry.value = _joined(p.default for p in found)


def _parameter(owners: Sequence[griffe.Object], name: str) -> griffe.Parameter | None:
    return next((o.parameters[name] for o in owners if name in o.parameters), None)


def _joined(values: Iterator[Any]) -> Any:
    """Returns the value that all share, or the distinct values as text; None if one is None."""
    distinct = {str(value): value for value in values}
    if "None" in distinct and distinct["None"] is None:
        return None
    return next(iter(distinct.values())) if len(distinct) == 1 else ", ".join(distinct)
