"""Load a user's Python file as a module."""

import importlib.util
from pathlib import Path
from types import ModuleType


def load(path: Path, what: str) -> ModuleType:
    """Executes a Python file and returns its module.

    Args:
      path: the file.
      what: what the file must be, for the error message.

    Raises:
      ValueError: the file does not exist, is not a Python file, or its code fails.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not a file; it must be {what}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file; it must be {what}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a Python file: {error}; it must be {what}") from None
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{path} cannot be executed: {type(error).__name__}: {error}; fix the file"
        ) from error
    return module
