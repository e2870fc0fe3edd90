"""What a bad input is: how it is made, and the exit code and line that are promised for it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

FORECAST = str(Path(__file__).parents[2] / "experiments" / "training" / "forecasting.py")
CLOSED = "closed"


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
      number: of its group; a group may have several.
      what: in a few words.
      arguments: of `rnnlab`; FILE is the experiment, RUN a copy of a finished run.
      code: the exit code that is promised.
      says: a part of the line that is promised; empty where nothing is said.
      prepare: makes files in the working folder, where RUN is `run`.
      stage: of `stages.py`.
      environment: variables of the process.
      stdout: where the output goes: to a file of this name, or to a pipe that is CLOSED; by default
        to one that is read.
    """

    number: int
    what: str
    arguments: str
    code: int
    says: str
    prepare: Callable[[Path], None] = lambda here: None
    stage: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    stdout: str = ""


def files(**contents: bytes | str) -> Callable[[Path], None]:
    """Makes files by name; `_` stands for the dot."""

    def prepare(here: Path) -> None:
        for name, content in contents.items():
            raw = content.encode() if isinstance(content, str) else content
            (here / name.replace("_", ".")).write_bytes(raw)

    return prepare
