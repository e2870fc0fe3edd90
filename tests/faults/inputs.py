"""Bad input to the command line: what the process does against what is promised for it."""

import shlex
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from faults import bad_commands, bad_data
from faults.cases import CLOSED, FORECAST, Case
from faults.harness import Lab
from rnnlab.records import Record

SECONDS = 5.0
"""Within which each is refused. What is right is trained, for as long as that takes."""

CASES = sorted(bad_commands.CASES + bad_data.CASES, key=lambda case: case.number)
"""All bad inputs."""


def refuse(lab: Lab, case: Case, here: Path) -> Record:
    """Runs one case in a folder of its own and compares it with its promise."""
    here.mkdir()
    if "RUN" in case.arguments or case.number == 20:
        shutil.copytree(lab.whole, here / "run")
        (here / "run" / "result.json").unlink()
    case.prepare(here)
    before = _tree(here)
    done = _process(lab, case, here)
    lines = done["err"].splitlines()
    new = sorted(_tree(here) - before)
    accepted = case.code == 0
    said = not case.says or (
        len(lines) == 1 and lines[0].startswith("rnnlab: ") and case.says in lines[0]
    )
    ok = done["code"] == case.code and said and "Traceback" not in done["err"]
    if not accepted:
        ok = ok and not new
        ok = ok and (case.code != 128 + signal.SIGPIPE or not lines)
    shutil.rmtree(here)
    return {
        "group": case.number,
        "case": case.what,
        "code": done["code"],
        "promised": case.code,
        "lines": len(lines),
        "new_files": len(new) if not accepted else 0,
        **({} if accepted else {"seconds": round(done["seconds"], 2)}),
        "ok": ok,
        "in_time": accepted or done["seconds"] < SECONDS,
        "said": done["err"].strip()[:400].replace(str(lab.experiment), "FILE"),
    }


def refuse_all(lab: Lab, out: Path) -> Iterator[Record]:
    """All cases, one after the other."""
    out.mkdir(parents=True, exist_ok=True)
    for k, case in enumerate(CASES):
        yield refuse(lab, case, out / str(k))


def _process(lab: Lab, case: Case, here: Path) -> dict:
    names = {"FILE": str(lab.experiment), "RUN": "run", "EXPERIMENTS": str(Path(FORECAST).parent)}
    words = [names.get(word, word) for word in shlex.split(case.arguments)]
    options = {"cwd": here, "env": lab.environment | case.environment}
    with ExitStack() as opened:
        if case.stdout not in ("", CLOSED):
            options["stdout"] = opened.enter_context(open(case.stdout, "w"))
        start = time.perf_counter()
        process = lab.rnnlab(*words, stage=case.stage, **options)
    if case.stdout == CLOSED:
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        process.wait()
    else:
        if case.number == 27:
            while not list(here.glob("stages/data.*")) and process.poll() is None:
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
        err = lab.wait(process).err
    return {"code": process.returncode, "err": err, "seconds": time.perf_counter() - start}


def _tree(folder: Path) -> set[str]:
    found = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    return {name for name in found if not name.startswith("stages")}
