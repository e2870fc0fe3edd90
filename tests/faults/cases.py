"""A bad input: how it is made, and the exit code and error message that it must produce."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

FORECAST = str(Path(__file__).parents[2] / "experiments" / "training" / "forecasting.py")
CLOSED = "closed"


@dataclass(frozen=True)
class Case:
    """One bad input to the command line.

    Attributes:
      number: the group; several cases may share one.
      what: a short description.
      arguments: of `rnnlab`; FILE is the experiment, RUN a copy of a finished run, BUNDLE a copy
        of its bundle.
      code: the expected exit code.
      expected_message: a part of the expected line on stderr; empty if none is expected.
      prepare: makes files in the working folder; the copy of the run is its folder `run`, that of
        the bundle its folder `model`.
      point: an injection point of `injection_points.py`.
      environment: extra environment variables of the process.
      stdout: a file that receives the output, or CLOSED for a pipe that nobody reads; by default
        the output is read.
      package: of an extra, that the command needs before it looks at its arguments; empty if none.
    """

    number: int
    what: str
    arguments: str
    code: int
    expected_message: str
    prepare: Callable[[Path], None] = lambda here: None
    point: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    stdout: str = ""
    package: str = ""

    @property
    def needs_process(self) -> bool:
        """Whether the case is about streams, signals or the environment of a process."""
        return bool(self.point or self.environment or self.stdout)


def files(**contents: bytes | str) -> Callable[[Path], None]:
    """Makes files by name; in a name `_` stands for the dot."""

    def prepare(here: Path) -> None:
        for name, content in contents.items():
            raw = content.encode() if isinstance(content, str) else content
            (here / name.replace("_", ".")).write_bytes(raw)

    return prepare
