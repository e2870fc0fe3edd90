"""Packages of the extra `data`: imported when used, and named in one line where missing."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType


def extra(name: str) -> ModuleType:
    """The module `name` of a package of the extra `data`.

    Raises:
      ValueError: the package is not installed.

    >>> extra("json").dumps([1])
    '[1]'
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise _missing(name.partition(".")[0]) from error


def extra_file(package: str, *parts: str) -> Path:
    """The path of a data file that `package` ships, found without importing the package.

    Raises:
      ValueError: the package is not installed, or has no such file.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(package)
    path = Path(spec.submodule_search_locations[0], *parts)
    if not path.is_file():
        raise ValueError(f"{package} is installed without {path}; `pip install 'rnnlab[data]'`")
    return path


def _missing(package: str) -> ValueError:
    return ValueError(f"{package} is not installed; it is needed: `pip install 'rnnlab[data]'`")
