"""Errors about the arguments of constructors: one line that names what to write.

Python's own messages name the base class in which a constructor fails, and not what rnnlab calls
the argument that was meant.
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter
from typing import Any, TypeVar

from flax import nnx

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)

OTHER_NAMES = {
    "dim": ("features", "width"),
    "dropout_rate": ("dropout",),
    "hidden_dim": ("features", "width"),
    "hidden_features": ("features", "width"),
    "hidden_size": ("features", "width"),
    "input_dim": ("in_features",),
    "input_size": ("in_features",),
    "key": ("rngs",),
    "layers": ("num_layers", "depth"),
    "n_layers": ("num_layers", "depth"),
    "num_embeddings": ("vocab_size",),
    "num_layers": ("depth",),
    "num_units": ("features", "width"),
    "out_features": ("features",),
    "output_size": ("out_features", "features"),
    "rng": ("rngs",),
    "seed": ("rngs",),
    "units": ("features", "width"),
}
"""Arguments by the names that other libraries give them, the first that a function has is meant."""

EXAMPLES = {"key": "jax.random.key(0)", "layers": "[layer, ...]", "rngs": "rngs=nnx.Rngs(0)"}
"""Arguments as they are written in a call."""

VARIABLE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def explain_constructor(cls: C) -> C:
    """Returns a class whose constructor, if it defines one, is wrapped by `explain_arguments`."""
    if "__init__" in vars(cls):
        cls.__init__ = explain_arguments(cls.__init__)  # type: ignore[misc]
    return cls


def explain_arguments(function: F) -> F:
    """Returns a function whose errors about missing, unknown and random arguments are explained.

    Successful calls and other errors are unchanged.

    >>> @explain_arguments
    ... def make(in_features, features, *, rngs):
    ...     return rngs.params()
    >>> make(3, 8)
    Traceback (most recent call last):
    TypeError: rngs must be given to make; write make(in_features, features, rngs=nnx.Rngs(0))
    >>> make(3, hidden_size=8, rngs=nnx.Rngs(0))
    Traceback (most recent call last):
    TypeError: argument 'hidden_size' is unknown for make; write features=8
    >>> make(3, 8, rngs=0)
    Traceback (most recent call last):
    ValueError: rngs must be an nnx.Rngs, got 0; write rngs=nnx.Rngs(0)
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **arguments: Any) -> Any:
        try:
            return function(*args, **arguments)
        except (AttributeError, TypeError) as error:
            explained = _explained(function, args, arguments, str(error))
            if explained is None:
                raise
        raise explained

    return wrapped  # type: ignore[return-value]


def _explained(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    arguments: Mapping[str, Any],
    message: str,
) -> Exception | None:
    """Returns the error to raise in place of one with `message`; None: it has another cause."""
    by_name = inspect.signature(function).parameters
    is_given = "rngs" in by_name and "rngs" in arguments
    rngs = arguments.get("rngs")
    if is_given and rngs is not by_name["rngs"].default and not isinstance(rngs, nnx.Rngs):
        found = repr(rngs) if isinstance(rngs, int | None) else f"a {type(rngs).__name__}"
        return ValueError(f"rngs must be an nnx.Rngs, got {found}; write {EXAMPLES['rngs']}")

    name, known, parameters = function.__name__, _names([function]), list(by_name.values())
    if "self" in by_name:
        cls, parameters, args = type(args[0]), parameters[1:], args[1:]
    if name == "__init__":
        name = cls.__name__
        known = _names(vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base))
    num_positional = sum(p.kind is Parameter.POSITIONAL_OR_KEYWORD for p in parameters)
    left = parameters[min(len(args), num_positional) :]
    missing = [p.name for p in _required(left) if p.name not in arguments]
    takes_others = any(p.kind is Parameter.VAR_KEYWORD for p in parameters)
    for unknown in (k for k in arguments if k not in known):
        meant = _meant(unknown, known)
        is_explained = takes_others and (not meant or "; write " in message)
        if is_explained or not (missing or f"argument {unknown!r}" in message):
            continue  # by the function that receives it; or another argument is the cause
        action = f"its arguments are {', '.join(known)}"
        if meant:
            action = f"write {EXAMPLES.get(meant) or f'{meant}={arguments[unknown]!r}'}"
        return TypeError(f"argument {unknown!r} is unknown for {name}; {action}")
    if missing or len(args) > num_positional:
        call = ", ".join(EXAMPLES.get(p.name, p.name) for p in _required(parameters))
        how = " by name" if len(args) > num_positional else ""
        what = f"{', '.join(missing) or 'all others'} must be given to {name}{how}"
        return TypeError(f"{what}; write {name}({call})")
    return None


def _required(parameters: Iterable[Parameter]) -> list[Parameter]:
    """Returns the parameters that a call must give."""
    return [p for p in parameters if p.default is Parameter.empty and p.kind not in VARIABLE]


def _names(functions: Iterable[Callable[..., Any]]) -> list[str]:
    """Returns the arguments of a function, and of the next ones while the last takes others too."""
    names: list[str] = []
    for function in functions:
        parameters = inspect.signature(function).parameters.values()
        names += [p.name for p in parameters if p.kind not in VARIABLE]
        if not any(p.kind is Parameter.VAR_KEYWORD for p in parameters):
            break
    return [name for name in dict.fromkeys(names) if name != "self"]


def _meant(name: str, known: Iterable[str]) -> str | None:
    """Returns the known argument that another library calls `name`, or that is most like it."""
    known = list(known)
    others = [other for other in OTHER_NAMES.get(name, ()) if other in known]
    return next(iter(others or difflib.get_close_matches(name, known, 1, 0.7)), None)
