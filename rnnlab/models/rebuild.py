"""Describe a module by its constructor's arguments as JSON values, and build it again from them.

A constructor's argument is read from the attribute of the same name, as in scikit-learn. Arguments
without one, such as initializers, get their defaults. `require_rebuildable` finds the modules for
which that is not enough.
"""

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnnlab.load_module import is_loaded, is_reference, load_class, reference_to

MODES = ("deterministic", "use_running_average")
"""Attributes that `train()` and `eval()` set."""

MISSING = inspect.Parameter.empty


def describe(module: nnx.Module) -> dict[str, Any]:
    """Returns the class of a module and its constructor's arguments, as JSON values.

    Raises:
      ValueError: an argument without a default is not an attribute, a value is not a number, a
        string, a flag, a dtype, None, a module, a class of modules or a sequence of these, or the
        class cannot be imported.

    >>> from rnnlab import Dropout
    >>> describe(Dropout(4, 0.5))["class"]
    'rnnlab:Dropout'
    """
    cls = type(module)
    arguments: dict[str, Any] = {}
    if cls is nnx.Sequential:  # its constructor's arguments have no names
        arguments["layers"] = _to_json(module.layers, "Sequential.layers")
    for parameter in constructor_parameters(cls):
        value = getattr(module, parameter.name, MISSING)
        # A Variable is drawn by the constructor: `MinLSTM.forget_bias` is one, and an option.
        if value is MISSING or isinstance(value, nnx.Variable | jax.Array | np.ndarray):
            if parameter.default is MISSING:
                raise ValueError(
                    f"{cls.__name__} must keep its constructor's argument {parameter.name!r} as an "
                    "attribute of that name to be saved, got none; set it in __init__"
                )
        elif value is not parameter.default:
            arguments[parameter.name] = _to_json(value, f"{cls.__name__}.{parameter.name}")
    return {"class": class_reference(cls), "arguments": arguments}


def build(description: dict[str, Any], rngs: nnx.Rngs, directory: Path) -> nnx.Module:
    """Builds a module from the result of `describe`.

    Args:
      description: class and arguments.
      rngs: streams for the constructors.
      directory: where files of classes are looked up that are not in the working directory.

    Raises:
      ValueError: a class cannot be imported, or does not accept the arguments.
    """
    try:
        reference, stored = description["class"], description["arguments"]
        items = stored.items()
    except (TypeError, KeyError, AttributeError):
        raise ValueError(f"a module must have a class and arguments, got {description!r}") from None
    cls = find_class(reference, directory)
    arguments = {name: _from_json(value, rngs, directory) for name, value in items}
    if _accepts_rngs(cls):
        arguments["rngs"] = rngs
    layers = arguments.pop("layers", ()) if cls is nnx.Sequential else ()
    try:
        return cls(*layers, **arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{reference} must accept its saved arguments, got an error: {error}; load it with the "
            "version of its code that saved it"
        ) from error


def import_classes(description: Any, directory: Path) -> None:
    """Imports the classes of a description, so that `build` within a trace executes no file.

    Raises:
      ValueError: a class cannot be imported.
    """
    if isinstance(description, list):
        for part in description:
            import_classes(part, directory)
    elif isinstance(description, dict):
        for name in ("class", "reference"):
            if name in description:
                find_class(description[name], directory)
        for part in description.values():
            import_classes(list(part.values()) if isinstance(part, dict) else part, directory)


def require_rebuildable(module: nnx.Module, rebuilt: nnx.Module) -> None:
    """Raises ValueError if the attributes of a module differ from those of the one built again."""
    found, wanted = dict(_settings(rebuilt)), dict(_settings(module))
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            raise ValueError(
                f"{type(module).__name__} must follow from its constructor's arguments to be "
                f"saved, but its {name} is {_shown(wanted, name)} and would be "
                f"{_shown(found, name)}; keep each argument as an attribute of its name, and do "
                "not replace parts after construction"
            )


def constructor_parameters(cls: type) -> list[inspect.Parameter]:
    """Returns the parameters that are arguments of a description.

    Where a constructor takes `**options`, those of its base class follow. `rngs` and initializers
    are omitted.
    """
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base) or base is nnx.Module:
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                found.setdefault(parameter.name, parameter)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return [p for name, p in found.items() if name != "rngs" and not name.endswith("_init")]


def class_reference(cls: type) -> str:
    """Returns `MODULE:CLASS`, by the public name where there is one, or `FILE.py:CLASS`.

    Raises:
      ValueError: the class is not at the top level of a file.
    """
    for package in ("rnnlab", "flax.nnx"):
        if getattr(importlib.import_module(package), cls.__name__, None) is cls:
            return f"{package}:{cls.__name__}"
    module = sys.modules.get(cls.__module__)
    is_importable = cls.__module__ != "__main__" and not is_loaded(cls.__module__)
    if is_importable and getattr(module, cls.__qualname__, None) is cls:
        return f"{cls.__module__}:{cls.__qualname__}"
    return reference_to(cls)


def find_class(reference: Any, directory: Path) -> type[nnx.Module]:
    """Returns the class of modules of `MODULE:CLASS` or `FILE.py:CLASS`.

    Raises:
      ValueError: it cannot be imported, or is not a class of modules.
    """
    if not isinstance(reference, str) or ":" not in reference:
        raise ValueError(f"a class must be MODULE:CLASS or FILE.py:CLASS, got {reference!r}")
    if is_reference(reference):
        file, _, name = reference.rpartition(":")
        near = directory / Path(file).name
        cls = load_class(
            f"{near}:{name}" if near.is_file() and not Path(file).is_file() else reference,
            "the code of a saved module",
        )
    else:
        package, _, name = reference.partition(":")
        try:
            cls = getattr(importlib.import_module(package), name, None)
        except ImportError as error:
            raise ValueError(
                f"the saved module needs {reference}, got {error}; install it, or add its "
                "directory to PYTHONPATH"
            ) from None
    if not isinstance(cls, type) or not issubclass(cls, nnx.Module):
        raise ValueError(
            f"{reference} must be a class of flax.nnx modules, got {cls!r}; load it with the "
            "version of its code that saved it"
        )
    return cls


def _accepts_rngs(cls: type) -> bool:
    constructors = (vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base))
    return any("rngs" in inspect.signature(init).parameters for init in constructors)


def _to_json(value: Any, name: str) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and np.isfinite(value):
        return value
    if isinstance(value, list | tuple | nnx.List):  # nnx.List is a module too
        return [_to_json(x, f"{name}[{k}]") for k, x in enumerate(value)]
    if isinstance(value, nnx.Module):
        return describe(value)
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, type) and issubclass(value, nnx.Module):
        return {"reference": class_reference(value)}
    if _is_dtype(value):
        return {"dtype": jnp.dtype(value).name}
    raise ValueError(
        f"{name} must be a number, string, flag, dtype, module, or a sequence of these to be "
        f"saved, got {value!r:.60}; make it an option of such a type"
    )


def _from_json(value: Any, rngs: nnx.Rngs, directory: Path) -> Any:
    if isinstance(value, list):
        return tuple(_from_json(x, rngs, directory) for x in value)
    if not isinstance(value, dict):
        return value
    if value.keys() == {"dtype"}:
        return jnp.dtype(value["dtype"])
    if value.keys() == {"path"}:
        return Path(value["path"])
    if value.keys() == {"reference"}:
        return find_class(value["reference"], directory)
    return build(value, rngs, directory)


def _settings(module: nnx.Module) -> Iterator[tuple[str, Any]]:
    """Yields the attributes of a module and its parts that are not modules, by path."""
    for path, part in nnx.iter_modules(module):
        for name, value in vars(part).items():
            if name.startswith("_pytree") or name in MODES or isinstance(value, nnx.Module):
                continue
            yield ".".join(map(str, (*path, name))), _comparable(value)
        yield ".".join(map(str, (*path, "class"))), type(part).__name__


def _comparable(value: Any) -> Any:
    """Returns what must be equal of two attributes: of arrays, the shape and dtype."""
    if isinstance(value, nnx.Variable):
        return type(value).__name__, _comparable(value.get_value())
    if isinstance(value, nnx.RngStream):
        return "stream", value.tag
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return tuple(value.shape), str(value.dtype)
    if isinstance(value, list | tuple | nnx.List):
        return tuple(_comparable(x) for x in value)
    if isinstance(value, dict | nnx.Dict):
        return {name: _comparable(x) for name, x in value.items()}
    if isinstance(value, nnx.Module):
        return type(value).__name__
    if _is_dtype(value):
        return jnp.dtype(value).name
    # Functions that a constructor makes, such as initializers, differ from call to call.
    return getattr(value, "__qualname__", type(value).__name__) if callable(value) else value


def _is_dtype(value: Any) -> bool:
    if isinstance(value, np.dtype):
        return True
    return isinstance(value, type(jnp.float32)) or (
        isinstance(value, type) and issubclass(value, np.generic)
    )


def _shown(settings: dict[str, Any], name: str) -> str:
    return repr(settings[name])[:60] if name in settings else "missing"
