"""`rnnlab list`: the experiments of a directory, with their questions."""

import ast
import warnings

from rnnlab.cli.commands import List
from rnnlab.tables import Table, print_table


def list_experiments(command: List) -> int:
    """Prints one line per experiment. Returns the exit code.

    Raises:
      ValueError: the directory does not exist, or contains no experiment.
    """
    if not command.folder.is_dir():
        raise ValueError(
            f"{command.folder} is not a directory; run it where experiments/ is, or set --folder"
        )
    lines = []
    for path in sorted(command.folder.rglob("*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            warnings.warn(f"{path} is not a Python file and is skipped: {error}", stacklevel=2)
            continue
        doc = ast.get_docstring(tree) or ""
        commands = [line.partition(":")[2] for line in doc.splitlines() if "Command:" in line]
        if commands:
            lines.append((path.stem, doc.splitlines()[0], commands[0].strip()))
    if not lines:
        raise ValueError(f"{command.folder} contains no experiment; set --folder")
    print_table(Table("Experiments", ("name", "question", "command"), lines, frozenset()))
    return 0
