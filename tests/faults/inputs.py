"""Bad inputs to the command line: observed against expected behaviour."""

import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from faults import bad_commands, bad_data, bad_deployment
from faults.cases import CLOSED, FORECAST, Case
from faults.harness import Lab
from rnnlab.records import Record

MAX_SECONDS = 5.0
"""The time limit of a refusal. A valid input trains, for as long as that takes."""

CASES = sorted(
    bad_commands.CASES + bad_data.CASES + bad_deployment.CASES, key=lambda case: case.number
)
"""All bad inputs."""


class Ended(NamedTuple):
    """The exit code of a command, its stderr, and its duration in seconds."""

    code: int
    stderr: str
    seconds: float


Execute = Callable[[Lab, Case, list[str], Path], Ended]
"""Runs `rnnlab` with the arguments of a case in a folder."""


def run_case(lab: Lab, case: Case, here: Path, execute: Execute) -> Record:
    """Runs one case in a new folder and compares the result with the expectation."""
    here.mkdir()
    if "RUN" in case.arguments or case.number == 20:
        shutil.copytree(lab.reference_run, here / "run")
        (here / "run" / "result.json").unlink()
    if "BUNDLE" in case.arguments:
        shutil.copytree(lab.reference_bundle(), here / "model")
    case.prepare(here)
    before = _tree(here)
    names = {"FILE": str(lab.experiment), "RUN": "run", "BUNDLE": "model"}
    names["EXPERIMENTS"] = str(Path(FORECAST).parent)
    arguments = [names.get(word, word) for word in shlex.split(case.arguments)]
    ended = execute(lab, case, arguments, here)
    lines = ended.stderr.splitlines()
    new = sorted(_tree(here) - before)
    is_accepted = case.code == 0
    is_expected_message = not case.expected_message or (
        len(lines) == 1 and lines[0].startswith("rnnlab: ") and case.expected_message in lines[0]
    )
    ok = ended.code == case.code and is_expected_message and "Traceback" not in ended.stderr
    if not is_accepted:
        ok = ok and not new
        ok = ok and (case.code != 128 + signal.SIGPIPE or not lines)
    shutil.rmtree(here)
    return {
        "group": case.number,
        "case": case.what,
        "code": ended.code,
        "promised": case.code,
        "lines": len(lines),
        "new_files": len(new) if not is_accepted else 0,
        **({} if is_accepted else {"seconds": round(ended.seconds, 2)}),
        "ok": ok,
        "in_time": is_accepted or ended.seconds < MAX_SECONDS,
        "said": ended.stderr.strip()[:400].replace(str(lab.experiment), "FILE"),
    }


def run_cases(lab: Lab, out: Path) -> Iterator[Record]:
    """Runs all cases in processes, one after the other."""
    out.mkdir(parents=True, exist_ok=True)
    for k, case in enumerate(CASES):
        yield run_case(lab, case, out / str(k), in_a_process)


def in_a_process(lab: Lab, case: Case, arguments: list[str], here: Path) -> Ended:
    """Runs the command as a process, with the streams, signals and environment of the case."""
    options = {"cwd": here, "env": lab.environment | case.environment}
    with ExitStack() as opened:
        if case.stdout not in ("", CLOSED):
            options["stdout"] = opened.enter_context(open(case.stdout, "w"))
        start = time.perf_counter()
        process = lab.rnnlab(*arguments, point=case.point, **options)
    if case.stdout == CLOSED:
        process.stdout.close()
        stderr = process.stderr.read()
        process.stderr.close()
        process.wait()
    else:
        if case.number == 27:
            while not list(here.glob("reached/data.*")) and process.poll() is None:
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
        stderr = lab.wait(process).stderr
    return Ended(process.returncode, stderr, time.perf_counter() - start)


def _tree(folder: Path) -> set[str]:
    """Returns the files of a folder, without Python's cache of those that were executed."""
    found = (path.relative_to(folder) for path in folder.rglob("*"))
    return {
        str(path)
        for path in found
        if not str(path).startswith("reached") and "__pycache__" not in path.parts
    }
