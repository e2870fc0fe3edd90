"""Griffe extension for mkdocstrings: show the examples of docstrings as code blocks."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^([ ]*)>>> .*(?:\n\1\S.*|\n\1[ ]+\S.*)*", re.MULTILINE)


class Fences(griffe.Extension):
    """Puts code fences around every example."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(match: re.Match) -> str:
    indent = match[1]
    return f"{indent}```pycon\n{match[0]}\n{indent}```"
