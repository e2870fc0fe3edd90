"""The words of a command as a dataclass, by tyro; what it refuses becomes one line."""

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
FRAME = re.compile(r"[╭╮╰╯│─]+|-{5,}")

strict = ConstructorRegistry()
"""Numbers as one writes them: Python's own also take `1_000`, `nan` and digits of other scripts."""


@strict.primitive_rule
def _integer(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    return _number(int, INTEGER, "a whole number, as in 1000,") if info.type is int else None


@strict.primitive_rule
def _float(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    return _number(float, NUMBER, "a finite number, as in 1e-3,") if info.type is float else None


def _number(kind: type, pattern: re.Pattern, needed: str) -> PrimitiveConstructorSpec:
    def read(words: list[str]) -> Any:
        if not pattern.fullmatch(words[0]) or kind(words[0]) in (float("inf"), -float("inf")):
            raise ValueError(f"{words[0]!r} is given; {needed} is needed")
        return kind(words[0])

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=kind.__name__.upper(),
        instance_from_str=read,
        is_instance=lambda x: isinstance(x, kind) and not isinstance(x, bool),
        str_from_instance=lambda x: [str(x)],
    )


def read(kind: Any, arguments: Sequence[str], *, prog: str, **options: Any) -> Any:
    """An instance of `kind` as the arguments describe it.

    `--help`, and tyro's flags for a shell's completion, print or write and exit with 0.

    Raises:
      ValueError: an argument is unknown, missing or refused, in one line; or what `kind` itself
        raised for a value out of range.
    """
    call: Callable[[], Any] = lambda: tyro.cli(  # noqa: E731
        kind, prog=prog, args=list(arguments), registry=strict, **options
    )
    if {"-h", "--help"} & set(arguments):
        return call()
    said = StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            return call()
    except AssertionError as error:
        if not any(word.startswith("--tyro") for word in arguments[:1]):
            raise
        raise ValueError(f"{error}; `{prog} --help` has all") from None
    except SystemExit as stop:
        if not stop.code:
            print(said.getvalue(), end="")
            raise
        # tyro turns what the settings raise into an exit; here it is an error like any other.
        error = stop.__context__
        while error is not None:
            if isinstance(error, ValueError) and _raised_by_settings(error):
                raise error from None
            error = error.__context__
        raise ValueError(condensed(said.getvalue(), prog)) from None


def condensed(box: str, prog: str) -> str:
    """tyro's framed text in one line: what is wrong, the likeliest meaning, where help is.

    >>> condensed('''
    ... ╭─ Unrecognized options ────────╮
    ... │ Unrecognized options: --stpes │
    ... │ ───────────────────────────── │
    ... │ Perhaps you meant:            │
    ... │     --steps INT               │
    ... │         number of updates.    │
    ... ╰───────────────────────────────╯''', "rnnlab run FILE")
    'Unrecognized options: --stpes; did you mean --steps INT? `rnnlab run FILE --help` has all'
    """
    title, *lines = [FRAME.sub(" ", line).strip() for line in box.strip().splitlines() or [""]]
    blocks = [list(group) for full, group in itertools.groupby(lines, bool) if full]
    blocks = blocks or [[title or "the arguments are not understood"]]
    said = [" ".join(blocks[0]).rstrip(".")]
    for block in blocks[1:]:
        if block[0].startswith("Perhaps you meant"):
            said.append(f"did you mean {block[1]}?")
        elif block[0].startswith("Available"):
            said.append(" ".join(block))
    end = "" if said[-1].endswith("?") else ";"
    return f"{'; '.join(said)}{end} `{prog} --help` has all"


def _raised_by_settings(error: ValueError) -> bool:
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    name = frame.f_globals["__name__"]
    return name.startswith("rnnlab.") and name != __name__
