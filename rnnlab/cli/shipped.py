"""The directory of the experiments that come with rnnlab."""

import ast
from pathlib import Path

import rnnlab

PACKAGE = Path(rnnlab.__file__).parent
EXPERIMENTS = Path("experiments", "training")


def shipped_experiments() -> Path:
    """Returns the directory of the experiments that can be run by name.

    It is that of the working directory if there is one, of the checkout that rnnlab is installed
    from, or of the installed package. Where none exists, the first is returned.
    """
    places = (EXPERIMENTS, PACKAGE.parent / EXPERIMENTS, PACKAGE / "experiments")
    return next((place for place in places if place.is_dir()), EXPERIMENTS)


def question_of(experiment: str) -> str | None:
    """Returns the question of a shipped experiment, the first line of its docstring, or None.

    >>> question_of("no_such_experiment")
    """
    script = shipped_experiments() / f"{experiment}.py"
    try:
        doc = ast.get_docstring(ast.parse(script.read_bytes())) or ""
    except (OSError, SyntaxError, ValueError):
        return None
    return doc.partition("\n")[0] or None


def documented_command(script: Path) -> str | None:
    """Returns the first command in the docstring of a script, or None. The script is not executed.

    It stands behind `Command:` and ends at two spaces, which separate a remark.
    """
    try:
        doc = ast.get_docstring(ast.parse(script.read_bytes())) or ""
    except (SyntaxError, ValueError):
        return None
    lines = (line.removeprefix("Command:") for line in doc.splitlines() if "Command:" in line)
    command = next(lines, "").strip()
    return command.partition("  ")[0] or None
