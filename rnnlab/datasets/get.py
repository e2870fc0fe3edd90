"""Copy or download a data set into the data folder: every file completely, or not at all."""

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import rnnlab
from rnnlab.atomic_io import TMP_SUFFIX, lock, mkdir_durable, open_atomic, raise_resource_errors
from rnnlab.datasets.data_set import DataFile, DataSet, Form
from rnnlab.datasets.folder import (
    CHUNK_BYTES,
    check_file,
    expected_digest,
    names_of,
    present_form,
    set_folder,
    wrong_digest,
    wrong_size,
)
from rnnlab.errors import DataError

TIMEOUT_SECONDS = 30
"""Longest wait for an answer of a server."""

Report = Callable[[DataFile, int], None]
"""Receives a file and how many of its bytes are copied, after each piece."""


def get(data_set: DataSet, source: Path | None, report: Report) -> list[Path]:
    """Copies or downloads the files of a data set that are missing or not valid.

    Files are verified while they are written to a temporary file, which then replaces the file.
    Files in the data folder that differ from the catalog are replaced, or removed if the source has
    another form of them. Another process that gets the same set waits.

    Args:
      data_set: from the catalog.
      source: a folder with its files, or with a folder of its name; None downloads them.
      report: receives the progress.

    Returns:
      The paths of the files that were written; none if the set was complete.

    Raises:
      DataError: a file is missing in `source`, differs from the catalog, cannot be read or cannot
        be downloaded. Files that were complete before it are kept.
      InsufficientResourcesError: a file could not be written.
    """
    target = set_folder(data_set.name)
    # Planned first: a folder that lacks a file, or has a wrong one, changes nothing.
    if not _plan(data_set, target, source):
        return []
    with _locked(target):
        written = []
        for file in _plan(data_set, target, source):  # again: another process may have got it
            path = target / file.name
            with raise_resource_errors(path):
                mkdir_durable(path.parent)
            if source is None:
                origin, pieces = file.url, _downloaded(file, data_set.name)
            else:
                copied = set_folder(data_set.name, source) / file.name
                origin, pieces = str(copied), _read(copied)
            _publish(file, path, str(origin), pieces, report)
            written.append(path)
        _remove_invalid(data_set, target)
    return written


def _invalid_parts(data_set: DataSet, folder: Path) -> list[str]:
    """The parts that are missing in a folder or have a file that is not valid."""
    return [part for part, forms in data_set.parts.items() if not _is_valid(folder, forms)]


def _is_valid(folder: Path, forms: tuple[Form, ...]) -> bool:
    form = present_form(folder, forms)
    return form is not None and all(_matches(folder / file.name, file) for file in form)


def _matches(path: Path, file: DataFile) -> bool:
    try:
        check_file(path, file, "")
    except DataError:
        return False
    return True


def _remove_invalid(data_set: DataSet, folder: Path) -> None:
    """Removes files that are not valid, of complete forms that would hide a valid form."""
    for part in _invalid_parts(data_set, folder):
        for form in data_set.parts[part]:
            files = {folder / file.name: file for file in form}
            if all(path.is_file() for path in files):
                for path, file in files.items():
                    if not _matches(path, file):
                        with raise_resource_errors(path):
                            path.unlink()


def _plan(data_set: DataSet, target: Path, source: Path | None) -> list[DataFile]:
    """The files to write, in order, which are valid in the folder that they are copied from."""
    planned = []
    for part in _invalid_parts(data_set, target):
        forms = data_set.parts[part]
        if source is None:
            form = data_set.download_form(part)
            if form is None:
                raise DataError(
                    f"{data_set.name} cannot be downloaded, because {names_of(forms)} was made "
                    f"from {data_set.source}; name a folder that has it by --from"
                )
        else:
            folder = set_folder(data_set.name, source)
            form = present_form(folder, forms)
            if form is None:
                raise DataError(
                    f"{folder} has no {names_of(forms)}, a part of {data_set.name}; name the "
                    "folder that has it by --from"
                )
            for file in form:
                action = "copy it again, or name another folder by --from"
                check_file(folder / file.name, file, action)
        planned += [file for file in form if not _matches(target / file.name, file)]
    if not planned:
        return []
    for file in data_set.documents:
        if source is None:
            is_there = file.url is not None
        else:
            is_there = _matches(set_folder(data_set.name, source) / file.name, file)
        if is_there and not _matches(target / file.name, file):
            planned.append(file)
    return planned


def _publish(
    file: DataFile, path: Path, origin: str, pieces: Iterable[bytes], report: Report
) -> None:
    """Writes a file, which appears only if it is complete and what the catalog describes."""
    digest, size = hashlib.sha256(), 0
    action = "try again, or name a folder that has a valid copy by --from"
    with open_atomic(path) as opened:
        for piece in pieces:
            opened.write(piece)
            digest.update(piece)
            size += len(piece)
            report(file, size)
        if file.size is not None and size != file.size:
            raise DataError(wrong_size(origin, file.size, size, action))
        wanted = expected_digest(path, file)
        if wanted is not None and digest.hexdigest() != wanted:
            raise DataError(wrong_digest(origin, wanted, digest.hexdigest(), action))


def _read(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as opened:
            while piece := opened.read(CHUNK_BYTES):
                yield piece
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; change its mode") from error


def _downloaded(file: DataFile, name: str) -> Iterator[bytes]:
    request = urllib.request.Request(
        file.url, headers={"User-Agent": f"rnnlab/{rnnlab.__version__}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            while piece := response.read(CHUNK_BYTES):
                yield piece
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is also the answer of the server
        raise DataError(
            f"{file.url} cannot be downloaded: {reason}; connect to the network, or copy the file "
            f"into a folder and run `rnnlab data get {name} --from FOLDER`"
        ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Waits until no other process writes to a folder, and removes what a killed one left."""
    file = folder.with_name(f".{folder.name}.lock")
    with raise_resource_errors(file):
        mkdir_durable(folder)
        opened = file.open("w")
    with opened:
        lock(opened)
        for left in folder.rglob(f"*{TMP_SUFFIX}"):
            with raise_resource_errors(left):
                left.unlink()
        yield
