"""Several processes of one job on this machine: the command line, or a session of the tests."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rnnlab.parallel.launch import free_port

POINTS = Path(__file__).parent / "injection_points.py"
SESSION = Path(__file__).parents[1] / "parallel" / "process_session.py"
TIMEOUT_S = 500
"""The longest time of a job on a busy machine, in seconds."""

VARIABLES = ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES", "RNNLAB_LAUNCHER")


class Ended(NamedTuple):
    """The exit code and the output of a process, and when it ended."""

    code: int
    stdout: str
    stderr: str
    at: float

    @property
    def lines(self) -> list[str]:
        """The errors that the process reported."""
        lines = self.stderr.splitlines()
        return [line for line in lines if line.startswith("rnnlab: ") and " of " not in line[:25]]


class Job:
    """Processes that run until they end; their output is in files of a folder."""

    def __init__(self, commands: Sequence[Sequence[str]], folder: Path, **options: Any):
        folder.mkdir(parents=True, exist_ok=True)
        variables = {k: v for k, v in os.environ.items() if k not in VARIABLES}
        self.folder = folder
        self.children: list[subprocess.Popen] = []
        for index, command in enumerate(commands):
            out, err = self._file(index, "out"), self._file(index, "err")
            with out.open("w") as stdout, err.open("w") as stderr:
                settings = {"env": variables, "cwd": folder, "stdout": stdout, "stderr": stderr}
                self.children.append(subprocess.Popen(command, **settings | options))

    def wait(self, *indices: int) -> list[Ended]:
        """Waits until some processes have ended, by default all; kills all that do not end."""
        until = time.monotonic() + TIMEOUT_S
        ended: dict[int, float] = {}
        wanted = indices or range(len(self.children))
        try:
            while len(ended) < len(wanted):
                for index in set(wanted) - ended.keys():
                    if self.children[index].poll() is not None:
                        ended[index] = time.monotonic()
                assert time.monotonic() < until, [self._text(k, "err") for k in wanted]
                time.sleep(0.02)
        finally:
            if not indices or len(ended) < len(wanted):
                self.kill()
        return [self._ended(index, ended[index]) for index in wanted]

    def kill(self) -> None:
        """Ends all processes that are left."""
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()

    def _file(self, index: int, kind: str) -> Path:
        return self.folder / f"{index}.{kind}"

    def _text(self, index: int, kind: str) -> str:
        return self._file(index, kind).read_text(encoding="utf-8")

    def _ended(self, index: int, at: float) -> Ended:
        texts = self._text(index, "out"), self._text(index, "err")
        return Ended(self.children[index].returncode, *texts, at)


def session(folder: Path, stage: str, count: int = 2) -> Job:
    """Starts the processes of `process_session.py`."""
    place = [f"127.0.0.1:{free_port()}", str(count)]
    script = [sys.executable, str(SESSION)]
    return Job([[*script, *place, str(k), str(folder), stage] for k in range(count)], folder)


def found_in(folder: Path, count: int = 2) -> list[dict[str, Any]]:
    """Returns the findings that the processes of a session have written."""
    return [json.loads((folder / f"{k}.json").read_text(encoding="utf-8")) for k in range(count)]


def rnnlab(folder: Path, *arguments: str, count: int, point: str = "none") -> Job:
    """Starts `rnnlab` in several processes, which pause at an injection point."""
    place = ["--coordinator", f"127.0.0.1:{free_port()}", "--processes", str(count)]
    command = [sys.executable, str(POINTS), point, *arguments, *(place if count > 1 else [])]
    flags = [["--process", str(k)] if count > 1 else [] for k in range(count)]
    return Job([[*command, *own] for own in flags], folder)
