"""`rnnlab verify`: check the files of run directories and bundles, and audit logs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from warnings import catch_warnings, simplefilter

from rnnlab import legacy_names, records
from rnnlab.atomic_io import TMP_SUFFIX, parse_json, read_json
from rnnlab.bundle import Bundle, open_bundle
from rnnlab.bundle.format import DESCRIPTION, SIGNATURE
from rnnlab.bundle.signature import verify_signature
from rnnlab.cli.commands import Verify
from rnnlab.errors import BundleError, CheckpointError, CorruptCheckpointError
from rnnlab.records import Record
from rnnlab.runs.api import check_references, load_run, read_settings
from rnnlab.runs.checkpoints.store import TRASH_SUFFIX, CheckpointStore
from rnnlab.runs.lock import require_unlocked
from rnnlab.runs.references import references
from rnnlab.runs.run_dir import ARCHIVE_DIR, CORRUPT_DIR, RunDirectory
from rnnlab.runs.stored_run import model_settings
from rnnlab.serve.audit import check_chain
from rnnlab.tables import Table, print_table


class Finding(NamedTuple):
    """The state of one file or checkpoint of a run."""

    path: str
    state: str
    valid: bool


def verify(command: Verify) -> int:
    """Prints one table per run or bundle, or the state of an audit log. Returns the exit code.

    Raises:
      DataError: the chain of an audit log is broken.
      RunLockedError: a process writes to one of the runs.
      CheckpointError: there is no run or bundle, or a file is corrupt, or a signature is required
        and is missing or of another key.
    """
    if command.folder.is_file():
        return _verify_audit(command.folder)
    bundles = _folders(command.folder, DESCRIPTION)
    run_dirs = [] if bundles == [command.folder] else _folders(command.folder, "config.json")
    if not run_dirs and not bundles:
        raise CheckpointError(
            f"{command.folder} must be or contain a run or a bundle, and does not; name a run "
            "directory or a bundle"
        )
    if run_dirs and (command.public_key is not None or command.parity):
        raise ValueError(
            "public_key and parity must be omitted for runs, which have no signature and no "
            f"exported files, got one for {run_dirs[0]}; name a bundle"
        )
    for folder in bundles:
        _verify_bundle(folder, command)
    corrupt = []
    for run_dir in run_dirs:
        require_unlocked(run_dir)
        findings = list(findings_of(run_dir))
        lines = [(f.path, f.state) for f in findings]
        print_table(Table(str(run_dir), ("file", "state"), lines, frozenset()))
        corrupt += [f"{run_dir / f.path}: {f.state}" for f in findings if not f.valid]
    if corrupt:
        more = f"; and {len(corrupt) - 1} more" if len(corrupt) > 1 else ""
        raise CheckpointError(
            f"{corrupt[0]}{more}; restore what is corrupt from a backup, or resume from a valid "
            "checkpoint with `rnnlab resume`, with --from-step if the run is finished"
        )
    return 0


def _verify_audit(path: Path) -> int:
    """Checks an audit log of `rnnlab serve` and prints the digest of its last record."""
    chain = check_chain(path)
    torn = f"; {chain.torn} bytes of an incomplete record follow" if chain.torn else ""
    print(f"{path}: {chain.records} valid records, the last with SHA-256 {chain.head}{torn}")
    return 0


def _folders(folder: Path, name: str) -> list[Path]:
    """Returns a folder if it has the file `name`, or all folders below it that have it."""
    if (folder / name).is_file():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"**/{name}"))


def _verify_bundle(folder: Path, command: Verify) -> None:
    """Prints the files of a valid bundle; an invalid one is an error."""
    bundle, errors = open_bundle(folder), {}
    if command.public_key is not None:
        verify_signature(folder, command.public_key)
    if command.parity:
        errors = _parity(bundle)
    lines = [(DESCRIPTION, f"valid: {bundle.config.cell}, {len(bundle.parameters)} parameters")]
    for name, record in sorted(bundle.files.items()):
        found = f", largest relative error {errors[name]:.1e}" if name in errors else ""
        lines.append((name, f"valid: {record.size:,} bytes{found}"))
    if command.public_key is not None:
        lines.append((SIGNATURE, f"valid: by the owner of {command.public_key.name}"))
    elif (folder / SIGNATURE).exists():
        lines.append((SIGNATURE, "not verified; pass --public-key"))
    print_table(Table(str(folder), ("file", "state"), lines, frozenset()))


def _parity(bundle: Bundle) -> dict[str, float]:
    """Returns the largest relative error of each exported file of a bundle."""
    from rnnlab.export import PARITY_FILE, verify_files

    if PARITY_FILE not in bundle.files:
        raise ValueError(
            f"{bundle.path} must have exported files for --parity, got none; make them with "
            "`rnnlab export`"
        )
    report = parse_json(bundle.read(PARITY_FILE), bundle.path / PARITY_FILE)
    if not isinstance(report, dict) or not report.keys() <= bundle.files.keys():
        raise BundleError(
            f"{bundle.path / PARITY_FILE} must report on files of the bundle, and does not; export "
            "them again"
        )
    try:
        return verify_files(bundle.model(), report, bundle.read)
    except BundleError as error:
        raise BundleError(f"{bundle.path}: {error}") from None


def findings_of(path: Path) -> Iterator[Finding]:
    """Yields the state of every file and checkpoint of a run."""
    run_dir = RunDirectory(path)
    try:
        settings = _check_settings(path)
        metadata = {"config": model_settings(settings)}
        yield Finding("config.json", f"valid: {settings['experiment']}, {settings['task']}", True)
    except (ValueError, OSError) as error:
        metadata = {}
        yield Finding("config.json", f"corrupt: {error}", False)
    checkpoints = CheckpointStore(path, metadata)
    yield _read(run_dir.environment, run_dir.read_environment)
    if run_dir.result.exists():
        yield _read(run_dir.result, run_dir.read_result)
    for pointer in (checkpoints.latest_path, checkpoints.best_path):
        if pointer.exists():
            yield _read(pointer, lambda pointer=pointer: read_json(pointer))
    yield from _metrics(run_dir)
    steps = checkpoints.saved_steps()
    for step in steps:
        try:
            checkpoints.verify(step)
            state, valid = "valid", True
        except CorruptCheckpointError as error:
            state, valid = f"corrupt: {error}", False
        except CheckpointError as error:
            state, valid = f"of another run: {error}", False
        pointers = checkpoints.latest_path, checkpoints.best_path
        marks = [pointer.stem for pointer in pointers if _points_at(pointer, step)]
        yield Finding(f"checkpoints/{step}", ", ".join([state, *marks]), valid)
    for pointer in (checkpoints.latest_path, checkpoints.best_path):
        if pointer.exists() and not any(_points_at(pointer, step) for step in steps):
            yield Finding(pointer.name, "corrupt: its checkpoint is missing", False)
    quarantines = CORRUPT_DIR, legacy_names.CORRUPT_DIR
    archives = ARCHIVE_DIR, legacy_names.ARCHIVE_DIR
    stale = "left by a killed process; `rnnlab resume` removes it"
    for kind, state in (
        *((f"checkpoints/*{suffix}", stale) for suffix in (TMP_SUFFIX, TRASH_SUFFIX)),
        *((f"checkpoints/*{suffix}", stale) for suffix in legacy_names.TMP_SUFFIXES),
        *((f"{name}/*", "kept for inspection") for name in quarantines),
        *((f"{name}/*", "archived by --from-step") for name in archives),
    ):
        for left in sorted(path.glob(kind)):
            yield Finding(str(left.relative_to(path)), state, True)


def _check_settings(path: Path) -> Record:
    """Returns the settings of a run, checked as far as that executes no user's code."""
    run_dir, settings = read_settings(path)
    if references(settings):
        check_references(run_dir, settings)
    else:
        load_run(path)
    return settings


def _read(file: Path, read: Callable[[], object]) -> Finding:
    try:
        read()
    except (ValueError, OSError) as error:
        return Finding(file.name, f"corrupt: {error}", False)
    return Finding(file.name, "valid", True)


def _metrics(run_dir: RunDirectory) -> Iterator[Finding]:
    if not run_dir.metrics.exists():
        return
    with catch_warnings(record=True) as incomplete:
        simplefilter("always")
        try:
            count = sum(1 for _ in records.read(run_dir.metrics))
            with catch_warnings(action="ignore"):
                run_dir.read_metrics()
        except (ValueError, OSError) as error:
            yield Finding(run_dir.metrics.name, f"corrupt: {error}", False)
            return
    note = ", without an incomplete last line" if incomplete else ""
    yield Finding(run_dir.metrics.name, f"valid: {count} records{note}", True)


def _points_at(pointer: Path, step: int) -> bool:
    try:
        return read_json(pointer)["step"] == step
    except (OSError, ValueError, KeyError, TypeError):
        return False
