"""`rnnlab verify`: what of a run's folder is sound."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from warnings import catch_warnings, simplefilter

from rnnlab import legacy_names, records
from rnnlab.atomic_io import TMP_SUFFIX, read_json
from rnnlab.cli.commands import Verify
from rnnlab.errors import CheckpointError, CorruptCheckpointError
from rnnlab.records import Record
from rnnlab.runs.api import check_references, load_run, read_settings
from rnnlab.runs.checkpoints.store import TRASH_SUFFIX, CheckpointStore
from rnnlab.runs.lock import require_unlocked
from rnnlab.runs.references import references
from rnnlab.runs.run_dir import ARCHIVE_DIR, CORRUPT_DIR, RunDirectory
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
        require_unlocked(folder)
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
        settings = _check_settings(path)
        metadata = {"config": settings}
        yield Finding("config.json", f"sound: {settings['experiment']}, {settings['task']}", True)
    except (ValueError, OSError) as error:
        metadata = {}
        yield Finding("config.json", f"damaged: {error}", False)
    checkpoints = CheckpointStore(path, metadata)
    yield _read(folder.environment, folder.read_environment)
    if folder.result.exists():
        yield _read(folder.result, folder.read_result)
    for pointer in (checkpoints.latest_path, checkpoints.best_path):
        if pointer.exists():
            yield _read(pointer, lambda pointer=pointer: read_json(pointer))
    yield from _metrics(folder)
    steps = checkpoints.saved_steps()
    for step in steps:
        try:
            checkpoints.verify(step)
            state, sound = "sound", True
        except CorruptCheckpointError as error:
            state, sound = f"damaged: {error}", False
        except CheckpointError as error:
            state, sound = f"not of this run: {error}", False
        pointers = checkpoints.latest_path, checkpoints.best_path
        marks = [pointer.stem for pointer in pointers if _points_at(pointer, step)]
        yield Finding(f"checkpoints/{step}", ", ".join([state, *marks]), sound)
    for pointer in (checkpoints.latest_path, checkpoints.best_path):
        if pointer.exists() and not any(_points_at(pointer, step) for step in steps):
            yield Finding(pointer.name, "damaged: the step that it names is missing", False)
    stale = "left by a killed process; `rnnlab resume` removes it"
    for kind, state in (
        *((f"checkpoints/*{suffix}", stale) for suffix in (TMP_SUFFIX, TRASH_SUFFIX)),
        *((f"checkpoints/*{suffix}", stale) for suffix in legacy_names.TMP_SUFFIXES),
        *((f"{name}/*", "kept for inspection") for name in (CORRUPT_DIR, "damaged")),
        *((f"{name}/*", "archived by --from-step") for name in (ARCHIVE_DIR, "retired")),
    ):
        for left in sorted(path.glob(kind)):
            yield Finding(str(left.relative_to(path)), state, True)


def _check_settings(path: Path) -> Record:
    """Returns the settings of a run, checked as far as that executes no user's code."""
    folder, settings = read_settings(path)
    if references(settings):
        check_references(folder, settings)
    else:
        load_run(path)
    return settings


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
                folder.read_metrics()
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
