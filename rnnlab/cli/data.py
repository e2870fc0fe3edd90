"""`rnnlab data`: list, get and verify public data sets, and prepare token files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rnnlab.cli import token_files
from rnnlab.cli.byte_progress import byte_progress
from rnnlab.cli.data_commands import Data, GetDataSets, PrepareTokens, VerifyDataSets
from rnnlab.cli.suggestions import similar
from rnnlab.datasets.catalog import DATASETS
from rnnlab.datasets.data_set import DataFile, DataSet
from rnnlab.datasets.folder import (
    VARIABLE,
    check_file,
    data_folder,
    get_command,
    names_of,
    present_form,
    set_folder,
)
from rnnlab.datasets.get import Report, get
from rnnlab.errors import DataError
from rnnlab.runs.signals import StopRequested
from rnnlab.tables import Table, print_table, print_text


def run(command: Data) -> int:
    """Executes a subcommand. Returns the exit code.

    Raises:
      ValueError: a name is unknown or missing.
      DataError: a file is missing, differs from the catalog or cannot be downloaded.
      InsufficientResourcesError: a file could not be written.
      StopRequested: a signal came; complete files are kept.
    """
    action = command.action
    if isinstance(action, GetDataSets):
        return _get(_known(action.names), action.source)
    if isinstance(action, VerifyDataSets):
        files = [Path(name) for name in action.names if _is_file(name)]
        for file in files:
            token_files.verify(file)
        names = [name for name in action.names if not _is_file(name)]
        return _verify(_known(names)) if names or not files else 0
    if isinstance(action, PrepareTokens):
        return token_files.prepare(action)
    return _list()


def _is_file(name: str) -> bool:
    """Whether an argument of `verify` is a token file, also one that is missing."""
    return name not in DATASETS and (Path(name).suffix == ".tokens" or Path(name).is_file())


def _list() -> int:
    lines = [
        (x.name, _megabytes(_size(x)), _state(x), x.license, x.summary) for x in DATASETS.values()
    ]
    headings = ("name", "MB", "state", "license", "content")
    print_table(Table("Data sets", headings, lines, optional=("content", "license")))
    print_text(
        f"The data folder is {data_folder()}; {VARIABLE} names another one. `rnnlab data get NAME` "
        "gets a set, with --from FOLDER from a folder that has its files."
    )
    return 0


def _get(sets: Sequence[DataSet], source: Path | None) -> int:
    if not sets:
        raise ValueError(
            f"get needs the name of a data set, got none; choose from {', '.join(DATASETS)}"
        )
    if source is not None and not source.is_dir():
        raise DataError(f"{source} is not a folder; name one by --from")
    for data_set in sets:
        folder = set_folder(data_set.name)
        try:
            with _progress(data_set.name) as report:
                written = get(data_set, source, report)
        except StopRequested as stop:
            stop.kept = f"complete files are kept in {folder}; repeat the command to get the others"
            raise
        if written:
            size = sum(path.stat().st_size for path in written)
            count = f"{len(written)} file{'' if len(written) == 1 else 's'}"
            print_text(f"{data_set.name}: {count}, {_megabytes(size)} MB, valid, in {folder}.")
            print_text(f"License: {data_set.license}. Source: {data_set.source}.")
        else:
            print_text(f"{data_set.name} is complete and valid in {folder}.")
    return 0


def _verify(sets: Sequence[DataSet]) -> int:
    chosen = sets or [x for x in DATASETS.values() if _state(x) != "missing"]
    if not chosen:
        print_text(f"No data set is in {data_folder()}; `rnnlab data get NAME` gets one.")
        return 0
    wrong = []
    for data_set in chosen:
        lines = []
        for name, error in _findings(data_set):
            lines.append((name, "valid" if error is None else "not valid"))
            wrong += [] if error is None else [error]
        print_table(Table(str(set_folder(data_set.name)), ("file", "state"), lines))
    if wrong:
        more = f"; and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise DataError(f"{wrong[0]}{more}")
    return 0


def _findings(data_set: DataSet) -> Iterator[tuple[str, str | None]]:
    """Yields the name of every file, and what is wrong with it."""
    folder, action = set_folder(data_set.name), f"get it again by {get_command(data_set)}"
    for forms in data_set.parts.values():
        form = present_form(folder, forms)
        if form is None:
            yield names_of(forms), f"{folder} has no {names_of(forms)}; {action}"
        for file in form or ():
            yield file.name, _error(folder / file.name, file, action)
    for file in data_set.documents:
        if (folder / file.name).is_file():
            yield file.name, _error(folder / file.name, file, action)


def _error(path: Path, file: DataFile, action: str) -> str | None:
    try:
        check_file(path, file, action)
    except DataError as error:
        return str(error)
    return None


def _known(names: Sequence[str]) -> list[DataSet]:
    for name in names:
        if name not in DATASETS:
            closest = similar(name, DATASETS)
            advice = f"did you mean {closest}?" if closest else f"they are {', '.join(DATASETS)}."
            raise ValueError(f"{name!r} is not a data set; {advice} See `rnnlab data`")
    return [DATASETS[name] for name in dict.fromkeys(names)]


def _state(data_set: DataSet) -> str:
    """Whether the files of a set are in the data folder, by their names and sizes only."""
    folder = set_folder(data_set.name)
    forms = [present_form(folder, forms) for forms in data_set.parts.values()]
    if not any(forms):
        return "missing"
    sizes = [
        file.size in (None, _bytes(folder / file.name)) for form in forms for file in form or ()
    ]
    return "here" if all(forms) and all(sizes) else "incomplete"


def _size(data_set: DataSet) -> int:
    """The bytes of a set: of the form that is here, or else of the first whose size is known."""
    folder, total = set_folder(data_set.name), 0
    for forms in data_set.parts.values():
        form = present_form(folder, forms)
        if form is not None:
            total += sum(_bytes(folder / file.name) for file in form)
        else:
            sizes = [[file.size for file in form] for form in forms]
            total += sum(next(known for known in sizes if None not in known))
    return total


def _bytes(path: Path) -> int:
    return path.stat().st_size


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"


@contextmanager
def _progress(name: str) -> Iterator[Report]:
    """Yields a report that draws a bar per file on stderr, if that is a terminal."""
    with byte_progress(name) as update:

        def report(file: DataFile, done: int) -> None:
            update(f"{name}: {file.name}", done, file.size)

        yield report
