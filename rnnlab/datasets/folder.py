"""The files of data sets: their folder, and a comparison of each with the catalog."""

import hashlib
import os
from pathlib import Path

from rnnlab.datasets.catalog import DATASETS
from rnnlab.datasets.data_set import CHECKSUMS, DataFile, DataSet, Form
from rnnlab.errors import DataError

VARIABLE = "RNNLAB_DATA"
"""Environment variable that names the data folder."""

CHUNK_BYTES = 1 << 20


def data_folder() -> Path:
    """Returns the folder that has one folder per data set.

    It is the one that the environment variable RNNLAB_DATA names. The default is
    `~/.local/share/rnnlab/data`, below XDG_DATA_HOME or, on Windows, LOCALAPPDATA if they are set.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    variable = "LOCALAPPDATA" if os.name == "nt" else "XDG_DATA_HOME"
    base = os.environ.get(variable)
    return (
        Path(base) / "rnnlab" / "data" if base else Path("~/.local/share/rnnlab/data").expanduser()
    )


def dataset_files(name: str, path: str | os.PathLike | None = None) -> dict[str, Path]:
    """Returns the verified files of a data set by the name of their part.

    The size and the SHA-256 of every file are compared with the catalog at each call, which takes
    about a millisecond per 2 MB.

    Args:
      name: of the data set.
      path: a folder with its files, or with a folder of its name; None is the data folder.

    Returns:
      For each part of the set the path of its file, or of the folder of its files if it has
      several. A part may be compressed: `hour.csv` may be the path of `hour.csv.xz`.

    Raises:
      ValueError: the name is unknown.
      DataError: a file is missing, incomplete or of another version.
    """
    data_set = DATASETS.get(name)
    if data_set is None:
        raise ValueError(f"name must be one of {', '.join(DATASETS)}, got {name!r}; correct it")
    folder = set_folder(name, path)
    found = {}
    for part, forms in data_set.parts.items():
        form = present_form(folder, forms)
        if form is None:
            raise _missing(data_set, part, path, folder)
        for file in form:
            check_file(folder / file.name, file, f"remove it and run {get_command(data_set)}")
        found[part] = folder / form[0].name if len(form) == 1 else folder
    return found


def set_folder(name: str, path: str | os.PathLike | None = None) -> Path:
    """Returns the folder of a data set: of its name in `path` if there is one, else `path`.

    Args:
      name: of the data set.
      path: None is the data folder, in which every set has a folder of its name.
    """
    if path is None:
        return data_folder() / name
    inner = Path(path) / name
    return inner if inner.is_dir() else Path(path)


def present_form(folder: Path, forms: tuple[Form, ...]) -> Form | None:
    """Returns the first form of a part whose files all exist in a folder, or None."""
    for form in forms:
        if all((folder / file.name).is_file() for file in form):
            return form
    return None


def check_file(path: Path, file: DataFile, action: str) -> None:
    """Compares the size and the SHA-256 of a file with the catalog.

    Args:
      path: of the file, which exists.
      file: what it must be.
      action: what to do if it is another, for the message.

    Raises:
      DataError: it differs or cannot be read; names the file.
    """
    digest = hashlib.sha256()
    try:
        size = path.stat().st_size
        if file.size is not None and size != file.size:
            raise DataError(wrong_size(str(path), file.size, size, action))
        with path.open("rb") as opened:
            while chunk := opened.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; {action}") from error
    wanted = expected_digest(path, file)
    if wanted is not None and digest.hexdigest() != wanted:
        raise DataError(wrong_digest(str(path), wanted, digest.hexdigest(), action))


def expected_digest(path: Path, file: DataFile) -> str | None:
    """Returns the SHA-256 that a file must have; None for a list of checksums.

    Args:
      path: of the file. A list of checksums is in the same folder.
      file: from the catalog.

    Raises:
      DataError: the list of checksums is missing or does not have the file.
    """
    if file.sha256 is not None or file.name == CHECKSUMS:
        return file.sha256
    checksums = path.with_name(CHECKSUMS)
    try:
        lines = checksums.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{checksums} cannot be read: {reason}; get the data set again") from error
    for line in lines:
        digest, _, name = line.partition(" ")
        if name.strip().lstrip("*") == file.name:
            return digest
    raise DataError(f"{checksums} must have the checksum of {file.name}; get the data set again")


def wrong_size(where: str, wanted: int, found: int, action: str) -> str:
    """Returns the message on a file of another size."""
    state = "is incomplete" if found < wanted else "is another version"
    return f"{where} must have {wanted} bytes, got {found}: it {state}; {action}"


def wrong_digest(where: str, wanted: str, found: str, action: str) -> str:
    """Returns the message on a file of another content."""
    return (
        f"{where} must have the SHA-256 {wanted[:16]}..., got {found[:16]}...: it is corrupt, "
        f"incomplete or another version; {action}"
    )


def names_of(forms: tuple[Form, ...]) -> str:
    """Returns the names of the files of a part, for messages.

    >>> names_of(DATASETS["bike-hourly"].parts["hour.csv"])
    'hour.csv or hour.csv.xz'
    """
    return " or ".join(
        form[0].name if len(form) == 1 else f"{len(form)} files such as {form[-1].name}"
        for form in forms
    )


def get_command(data_set: DataSet) -> str:
    """Returns the command that gets a data set, for messages."""
    command = f"rnnlab data get {data_set.name}"
    return f"`{command}`" if data_set.is_downloadable else f"`{command} --from FOLDER`"


def _missing(
    data_set: DataSet, part: str, path: str | os.PathLike | None, folder: Path
) -> DataError:
    missing = names_of(data_set.parts[part])
    if path is not None:
        return DataError(
            f"{folder} has no {missing}, a part of {data_set.name}; name the folder that has it, "
            f"or run {get_command(data_set)}"
        )
    command = f"`rnnlab data get {data_set.name} [--from FOLDER]`"
    if not data_set.is_downloadable:
        command = get_command(data_set)
    return DataError(f"{data_set.name} is not here: {folder} has no {missing}; run {command}")
