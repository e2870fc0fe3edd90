"""`rnnlab list`: the experiments that `rnnlab run` trains, with their questions."""

import ast
import warnings

from rnnlab.cli.commands import List
from rnnlab.cli.shipped import shipped_experiments
from rnnlab.tables import Table, print_table


def list_experiments(command: List) -> int:
    """Prints one line per experiment. Returns the exit code.

    Raises:
      ValueError: the directory does not exist, or contains no experiment.
    """
    folder = command.folder or shipped_experiments()
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a directory; set --folder")
    lines = []
    for path in sorted(folder.rglob("*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            warnings.warn(f"{path} is not a Python file and is skipped: {error}", stacklevel=2)
            continue
        doc = ast.get_docstring(tree) or ""
        if "Command:  rnnlab run" in doc:
            name = path.stem if path.parent == shipped_experiments() else str(path)
            lines.append((f"rnnlab run {name}", doc.splitlines()[0]))
    if not lines:
        raise ValueError(f"{folder} contains no experiment; set --folder")
    print_table(Table("Experiments", ("command", "question"), lines))
    return 0
