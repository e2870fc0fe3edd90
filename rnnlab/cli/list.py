"""`rnnlab list`: the experiments, with their questions."""

import ast
import warnings
from dataclasses import dataclass
from pathlib import Path

from rnnlab.tables import Table, show


@dataclass(frozen=True)
class List:
    """Lists the experiments of a folder: their questions and their commands."""

    folder: Path = Path("experiments")
    """Where the experiments are."""


def list_experiments(command: List) -> int:
    """Prints a line an experiment. Returns the exit code.

    Raises:
      ValueError: the folder is none, or holds no experiment.
    """
    if not command.folder.is_dir():
        raise ValueError(
            f"{command.folder} is no folder; call it where experiments/ is, or give --folder"
        )
    lines = []
    for path in sorted(command.folder.rglob("*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            warnings.warn(f"{path} is no Python file: {error}; left out", stacklevel=2)
            continue
        doc = ast.get_docstring(tree) or ""
        commands = [line.partition(":")[2] for line in doc.splitlines() if "Command:" in line]
        if commands:
            lines.append((path.stem, doc.splitlines()[0], commands[0].strip()))
    if not lines:
        raise ValueError(f"{command.folder} holds no experiment; give --folder another")
    show(Table("Experiments", ("name", "question", "command"), lines, frozenset()))
    return 0
