"""Load a user's Python files as modules, and their classes by reference, `FILE.py:CLASS`."""

import hashlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

_loaded: set[str] = set()
"""Names in `sys.modules` of the modules that `load` has made."""


def load(path: Path, what: str) -> ModuleType:
    """Executes a Python file and returns its module. An unchanged file is executed once.

    The file can import modules of its directory.

    Args:
      path: the file.
      what: what the file must be, for the error message.

    Raises:
      ValueError: the file does not exist, is not a Python file, or its code fails.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not a file; it must be {what}")
    # One module per path and content: a class is then the same object wherever it is loaded.
    version = f"{path.resolve()}:{file_digest(path)}"
    name = f"{path.stem}_{hashlib.sha256(version.encode()).hexdigest()[:12]}"
    module = sys.modules.get(name) or _imported(path)
    if module is not None:
        return module
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file; it must be {what}")
    module = importlib.util.module_from_spec(spec)
    directory = str(path.resolve().parent)
    sys.modules[name] = module  # where dataclasses and type hints look up names
    sys.path.append(directory)
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, UnicodeDecodeError) as error:
        del sys.modules[name]
        raise ValueError(f"{path} is not a Python file: {error}; it must be {what}") from None
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ValueError(
            f"{path} cannot be executed: {type(error).__name__}: {error}; fix the file"
        ) from error
    except BaseException:  # an interrupt: no later call may find a module of half its names
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(directory)
    _loaded.add(name)
    return module


def is_reference(name: str) -> bool:
    """Whether a name refers to a user's class.

    >>> is_reference("my_cells.py:MyCell"), is_reference("mingru")
    (True, False)
    """
    return referenced_file(name).endswith(".py")


def referenced_file(reference: str) -> str:
    """Returns the file of `FILE.py:CLASS`."""
    return reference.rpartition(":")[0]


def load_class(reference: str, what: str) -> type:
    """Returns the class that `FILE.py:CLASS` names. The file is executed.

    Raises:
      ValueError: the file cannot be loaded, or does not define the class.
    """
    file, _, name = reference.rpartition(":")
    cls = getattr(load(Path(file).expanduser(), f"{what} as FILE.py:CLASS"), name, None)
    if not isinstance(cls, type):
        raise ValueError(f"{file} must define a class {name!r}; check the name after ':'")
    return cls


def reference_to(cls: type) -> str:
    """Returns `FILE.py:CLASS` for a class, relative to the working directory if it is below it.

    Raises:
      ValueError: the class is not defined at the top level of a Python file.
    """
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file is None or not file.endswith(".py") or "." in cls.__qualname__:
        raise ValueError(
            f"class {cls.__qualname__} must be defined at the top level of a .py file, so that "
            "its runs can be resumed; move it to a file"
        )
    path = Path(file).resolve()
    here = Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{cls.__name__}"


def user_location(error: BaseException) -> str | None:
    """Returns `FILE, line N` of the innermost user's code that an error passed; None without any.

    Users' code is the files that `load` has executed and the modules next to them.
    """
    files = [getattr(sys.modules.get(name), "__file__", None) for name in _loaded]
    directories = {Path(file).resolve().parent for file in files if file}
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = Path(frame.f_code.co_filename).resolve()
        if file.parent in directories:
            return f"{file.name}, line {line}"
    return None


def file_digest(path: Path) -> str:
    """Returns the SHA-256 digest of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _imported(path: Path) -> ModuleType | None:
    """Returns the module of the file if it has been imported by name, or is the main program."""
    path = path.resolve()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name in _loaded or not isinstance(file, str) or not file.endswith(path.name):
            continue
        if Path(file).resolve() == path:
            return module
    return None


def is_loaded(name: str) -> bool:
    """Whether a name in `sys.modules` is that of a module that `load` has executed."""
    return name in _loaded
