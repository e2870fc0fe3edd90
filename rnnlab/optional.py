"""Optional packages, of an extra: imported on use, with one clear error if missing."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from rnnlab.errors import MissingPackageError


def require_module(name: str, extra: str = "data") -> ModuleType:
    """Returns the module `name`.

    Args:
      name: of the module.
      extra: the extra of rnnlab that installs it.

    Raises:
      MissingPackageError: the package is not installed.

    >>> require_module("json").dumps([1])
    '[1]'
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise _missing(name.partition(".")[0], extra) from error


def package_data_path(package: str, *parts: str, extra: str = "data") -> Path:
    """Returns the path of a data file that `package` contains, without importing the package.

    Args:
      package: its name.
      *parts: the path of the file in it.
      extra: the extra of rnnlab that installs the package.

    Raises:
      MissingPackageError: the package is not installed.
      ValueError: it has no such file.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(package, extra)
    path = Path(spec.submodule_search_locations[0], *parts)
    if not path.is_file():
        raise ValueError(
            f"{package} must contain {path}, but it does not; run `pip install 'rnnlab[{extra}]'`"
        )
    return path


def _missing(package: str, extra: str = "data") -> MissingPackageError:
    return MissingPackageError(f"{package} must be installed; run `pip install 'rnnlab[{extra}]'`")
