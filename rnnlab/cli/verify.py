"""`rnnlab verify`: what of a run's folder is sound."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from warnings import catch_warnings, simplefilter

from rnnlab import records
from rnnlab.atomic_io import read_json
from rnnlab.cli.commands import Verify
from rnnlab.errors import CheckpointError, CorruptCheckpointError
from rnnlab.runs.api import load_run
from rnnlab.runs.checkpoints.store import CheckpointStore
from rnnlab.runs.lock import refuse_written
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.tables import Table, print_table


class Finding(NamedTuple):
    """What was found of one part of a run."""

    part: str
    state: str
    sound: bool


def verify(command: Verify) -> int:
    """Prints a table a run. Returns the exit code.

    Raises:
      BusyError: a process writes in one.
      CheckpointError: there is no run, or something is damaged.
    """
    alone = RunDirectory(command.folder).config.is_file()
    found = sorted(path.parent for path in command.folder.glob("**/config.json"))
    folders = [command.folder] if alone else found
    if not folders:
        raise CheckpointError(f"{command.folder} holds no run; give a run's folder")
    damaged = []
    for folder in folders:
        refuse_written(folder)
        findings = list(findings_of(folder))
        lines = [(f.part, f.state) for f in findings]
        print_table(Table(str(folder), ("part", "state"), lines, frozenset()))
        damaged += [f"{folder / f.part}: {f.state}" for f in findings if not f.sound]
    if damaged:
        more = f"; and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        raise CheckpointError(
            f"{damaged[0]}{more}; bring it back from a copy, or, of checkpoints, go on from a "
            "sound one by `rnnlab resume`, with --from-step where the run is finished"
        )
    return 0


def findings_of(path: Path) -> Iterator[Finding]:
    """A line for every part of a run's folder."""
    folder = RunDirectory(path)
    try:
        settings = load_run(path)[1]
        about = {"config": settings}
        yield Finding("config.json", f"sound: {settings['experiment']}, {settings['task']}", True)
    except (ValueError, OSError) as error:
        about = {}
        yield Finding("config.json", f"damaged: {error}", False)
    checkpoints = CheckpointStore(path, about)
    yield _read(folder.environment, folder.known_environment)
    if folder.result.exists():
        yield _read(folder.result, folder.known_result)
    for pointer in (checkpoints.latest, checkpoints.best):
        if pointer.exists():
            yield _read(pointer, lambda pointer=pointer: read_json(pointer))
    yield from _metrics(folder)
    steps = checkpoints.steps()
    for step in steps:
        try:
            checkpoints.verify(step)
            state, sound = "sound", True
        except CorruptCheckpointError as error:
            state, sound = f"damaged: {error}", False
        except CheckpointError as error:
            state, sound = f"not of this run: {error}", False
        marks = [p.stem for p in (checkpoints.latest, checkpoints.best) if _points_at(p, step)]
        yield Finding(f"checkpoints/{step}", ", ".join([state, *marks]), sound)
    for pointer in (checkpoints.latest, checkpoints.best):
        if pointer.exists() and not any(_points_at(pointer, step) for step in steps):
            yield Finding(pointer.name, "damaged: the step that it names is missing", False)
    for kind, state in (
        ("checkpoints/*.new", "left by a killed process; `rnnlab resume` removes it"),
        ("checkpoints/*.old", "left by a killed process; `rnnlab resume` removes it"),
        ("damaged/*", "kept for a look"),
        ("retired/*", "gone back on"),
    ):
        for left in sorted(path.glob(kind)):
            yield Finding(str(left.relative_to(path)), state, True)


def _read(file: Path, read: Callable[[], object]) -> Finding:
    try:
        read()
    except (ValueError, OSError) as error:
        return Finding(file.name, f"damaged: {error}", False)
    return Finding(file.name, "sound", True)


def _metrics(folder: RunDirectory) -> Iterator[Finding]:
    if not folder.metrics.exists():
        return
    with catch_warnings(record=True) as torn:
        simplefilter("always")
        try:
            count = sum(1 for _ in records.read(folder.metrics))
            with catch_warnings(action="ignore"):
                folder.logged()
        except (ValueError, OSError) as error:
            yield Finding(folder.metrics.name, f"damaged: {error}", False)
            return
    cut = ", a last line that was cut off is left out" if torn else ""
    yield Finding(folder.metrics.name, f"sound: {count} rows{cut}", True)


def _points_at(pointer: Path, step: int) -> bool:
    try:
        return read_json(pointer)["step"] == step
    except (OSError, ValueError, KeyError, TypeError):
        return False
