"""Parse command-line arguments into dataclasses with tyro; errors are one line."""

import itertools
import re
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

INTEGER = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
BOX_DRAWING = re.compile(r"[╭╮╰╯│─]+|-{5,}")

STRICT_NUMBERS = ConstructorRegistry()
"""Parses ASCII numbers only: `int` and `float` also accept `1_000`, `nan` and other digits."""


@STRICT_NUMBERS.primitive_rule
def _integer(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    return _number(int, INTEGER, "a whole number, as in 1000") if info.type is int else None


@STRICT_NUMBERS.primitive_rule
def _float(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    return _number(float, NUMBER, "a finite number, as in 1e-3") if info.type is float else None


def _number(kind: type, pattern: re.Pattern, expected: str) -> PrimitiveConstructorSpec:
    def read(words: list[str]) -> Any:
        if not pattern.fullmatch(words[0]) or kind(words[0]) in (float("inf"), -float("inf")):
            raise ValueError(f"must be {expected}, got {words[0]!r}")
        return kind(words[0])

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=kind.__name__.upper(),
        instance_from_str=read,
        is_instance=lambda x: isinstance(x, kind) and not isinstance(x, bool),
        str_from_instance=lambda x: [str(x)],
    )


def read(kind: Any, arguments: Sequence[str], *, prog: str, **options: Any) -> Any:
    """Returns an instance of `kind` that the arguments describe.

    `--help`, and tyro's flags for shell completion, print or write and exit with 0.

    Raises:
      ValueError: an argument is unknown, missing or invalid, in one line; or the error that `kind`
        itself raised for a value out of range.
    """
    call: Callable[[], Any] = lambda: tyro.cli(  # noqa: E731
        kind, prog=prog, args=list(arguments), registry=STRICT_NUMBERS, **options
    )
    if {"-h", "--help"} & set(arguments):
        return call()
    output = StringIO()
    try:
        with redirect_stdout(output), redirect_stderr(output):
            return call()
    except AssertionError as error:
        if not any(word.startswith("--tyro") for word in arguments[:1]):
            raise
        raise ValueError(f"{error}; see `{prog} --help`") from None
    except SystemExit as stop:
        if not stop.code:
            print(output.getvalue(), end="")
            raise
        # tyro converts errors of the settings into an exit; raise them as they were.
        error = stop.__context__
        while error is not None:
            if isinstance(error, ValueError) and _raised_by_settings(error):
                raise error from None
            error = error.__context__
        raise ValueError(one_line(output.getvalue(), prog)) from None


def one_line(box: str, prog: str) -> str:
    """Returns tyro's error box as one line, with the closest option and where to find help.

    >>> one_line('''
    ... ╭─ Unrecognized options ────────╮
    ... │ Unrecognized options: --stpes │
    ... │ ───────────────────────────── │
    ... │ Perhaps you meant:            │
    ... │     --steps INT               │
    ... │         number of updates.    │
    ... ╰───────────────────────────────╯''', "rnnlab run FILE")
    'Unrecognized options: --stpes; did you mean --steps INT? See `rnnlab run FILE --help`'
    """
    title, *lines = [
        BOX_DRAWING.sub(" ", line).strip() for line in box.strip().splitlines() or [""]
    ]
    blocks = [list(group) for full, group in itertools.groupby(lines, bool) if full]
    blocks = blocks or [[title or "the arguments are invalid"]]
    parts = [" ".join(blocks[0]).rstrip(".")]
    for block in blocks[1:]:
        if block[0].startswith("Perhaps you meant"):
            parts.append(f"did you mean {block[1]}?")
        elif block[0].startswith("Available"):
            parts.append(" ".join(block))
    hint = " See" if parts[-1].endswith("?") else "; see"
    return f"{'; '.join(parts)}{hint} `{prog} --help`"


def _raised_by_settings(error: ValueError) -> bool:
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    name = frame.f_globals["__name__"]
    return name != __name__ and not name.startswith("tyro.")
