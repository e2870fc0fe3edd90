"""Python files of a user's own, loaded as modules."""

import importlib.util
from pathlib import Path
from types import ModuleType


def load(path: Path, what: str) -> ModuleType:
    """The module that a Python file defines. Its code runs.

    Args:
      path: the file.
      what: what it should be, for the message.

    Raises:
      ValueError: there is no such file, it is no Python file, or its code fails.
    """
    if not path.is_file():
        raise ValueError(f"{path} is no file; {what} is needed")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file; {what} is needed")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no Python file: {error}; {what} is needed") from None
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{path} cannot be run: {type(error).__name__}: {error}; mend it"
        ) from error
    return module
