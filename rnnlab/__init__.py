"""rnnlab: recurrent sequence models in JAX, parallel over time where they are linear.

It solves the linear recurrence `h[t] = a[t] h[t-1] + b[t]` in parallel, and has the minimal cells
built on it, the classic cells they are compared with, and everything to train and measure them.

The public names are those of `rnnlab/__init__.pyi`. They are imported on first use, so that the
command line can lock a run and handle signals before JAX is imported.
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    alias.name: node.module
    for node in ast.parse(Path(__file__).with_suffix(".pyi").read_bytes()).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}


__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'rnnlab' has no attribute {name!r}")
    module = _MODULES[name]
    if module == __name__:  # a package, which becomes an attribute when it is imported
        return import_module(f"{module}.{name}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
