"""Reader of one or many documents: a file, a folder, a glob pattern, or a JSON Lines file."""

import glob
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rnnlab.tasks.readers import text
from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.text import decode_text, normalize_line_ends, read_bytes, read_text
from rnnlab.tasks.wording import counted

SEPARATOR = "\n\n"
"""Characters between two documents."""

JSON_LINES = (".jsonl", ".ndjson")
"""Suffixes, in lower case, of files with one JSON object per line."""

_BYTES_INSTEAD = ", or use its bytes: --data.token byte"


class Documents(NamedTuple):
    """The joined text of documents, and how they were read.

    Attributes:
      content: the characters, or the bytes.
      notes: sentences on what was detected.
    """

    content: str | bytes
    notes: tuple[str, ...]


def read_documents(
    path: str | os.PathLike, *, field: str | None = None, as_bytes: bool = False
) -> Documents:
    """Reads documents and joins them by two newlines.

    Files of a folder or a pattern are in the order of their paths. Lines of JSON Lines files, which
    end in `.jsonl` or `.ndjson`, are documents too. Hidden files of a folder are omitted.

    Args:
      path: a file; a folder, of which all files are read, also those in folders within it; or a
        glob pattern such as `texts/**/*.txt`.
      field: the key of the text in JSON Lines; None takes the only key with a string in every line.
      as_bytes: returns bytes. UTF-8 text has those of its text with `\\n` as every line end, any
        other file has those of the file.

    Raises:
      DataError: there is no such file, a file is not UTF-8 text, or all together have more than
        `rnnlab.tasks.readers.text.MAX_FILE_BYTES`. Messages count lines from 1.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "b.txt").write_text("two")
    ...     _ = Path(folder, "a.jsonl").write_text('{"id": 1, "text": "one"}')
    ...     read_documents(folder).content
    'one\\n\\ntwo'
    """
    path = Path(path)
    files = document_files(path)
    records = list(filter(is_json_lines, files))
    if field is not None and not records:
        reason = f"field must be None for files that are not JSON Lines, got {field!r}"
        raise data_error(path, f"{reason}; remove it or give a .jsonl file")
    lines = {file: _json_lines(file) for file in records}
    name = field
    if records and field is None:
        name = text_field(path, [record for file in records for _, record in lines[file]])
    documents, raw_files = [], []
    for file in files:
        if file in lines:
            documents += [text_of_record(file, number, line, name) for number, line in lines[file]]
        elif as_bytes:
            documents.append(_bytes(file, raw_files))
        else:
            documents.append(decode_text(file, read_bytes(file), _BYTES_INSTEAD))
    notes = []
    if len(files) > 1 or files[0] != path:
        notes.append(f"{counted(len(files), 'file')} of {path}, in the order of their paths.")
    if records:
        count = sum(map(len, lines.values()))
        notes.append(f"The text is the field {name!r} of {counted(count, 'line')} of JSON.")
    if raw_files:
        more = f" and {len(raw_files) - 1} more files" if len(raw_files) > 1 else ""
        notes.append(f"{raw_files[0]}{more}: not UTF-8 text, so the bytes of the file are used.")
    if as_bytes:
        encoded = (x if isinstance(x, bytes) else x.encode() for x in documents)
        return Documents(SEPARATOR.encode().join(encoded), tuple(notes))
    joined = SEPARATOR.join(documents)
    if not joined.strip():
        raise data_error(path, "has no text; write at least one symbol")
    return Documents(joined, tuple(notes))


def document_files(path: Path, *, any_size: bool = False) -> list[Path]:
    """Returns the files that a path stands for: itself, those of a folder, or of a glob pattern.

    Args:
      path: the path.
      any_size: whether the files of a folder or a pattern may exceed `MAX_FILE_BYTES` together.

    Raises:
      DataError: there is no file, or they are larger than `MAX_FILE_BYTES` together.
    """
    if path.is_dir():
        files = sorted(_files_of(path))
        if not files:
            raise data_error(path, "is a folder without files; add texts or give another folder")
    elif not path.exists() and glob.has_magic(str(path)):
        found = map(Path, glob.glob(str(path), recursive=True))
        files = sorted(file for file in found if file.is_file())
        if not files:
            raise data_error(path, "matches no file; correct the pattern")
    else:
        return [path]
    size = sum(file.stat().st_size for file in files)
    if size > text.MAX_FILE_BYTES and not any_size:
        reason = f"must have <= {text.MAX_FILE_BYTES} bytes in its {len(files)} files, got {size}"
        raise data_error(path, f"{reason}; use fewer files")
    return files


def is_json_lines(file: Path) -> bool:
    """Returns whether the suffix of a file is in `JSON_LINES`."""
    return file.suffix.lower() in JSON_LINES


def to_json_lines(texts: Sequence[str]) -> str:
    """Returns texts as JSON Lines with the field `text`, which `read_documents` reads.

    >>> to_json_lines(["one", "two"])
    '{"text": "one"}\\n{"text": "two"}\\n'
    """
    return "".join(json.dumps({"text": x}, ensure_ascii=False) + "\n" for x in texts)


def _files_of(folder: Path) -> Iterable[Path]:
    def unreadable(error: OSError) -> None:
        raise data_error(Path(error.filename), f"cannot be read: {error.strerror}; change its mode")

    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = (Path(parent, name) for name in names if not name.startswith("."))
        yield from (file for file in files if file.is_file())


def _bytes(file: Path, raw_files: list[Path]) -> bytes:
    """The bytes of a file, which is added to `raw_files` unless it is UTF-8 text."""
    raw = read_bytes(file)
    try:
        return decode_text(file, raw).encode()
    except ValueError:
        raw_files.append(file)
        return raw


def _json_lines(file: Path) -> list[tuple[int, dict[str, Any]]]:
    """Returns the objects of a JSON Lines file, with the numbers of their lines."""
    records = []
    for number, line in enumerate(read_text(file).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = f"is not JSON: {error}; write one JSON object per line"
            raise data_error(file, reason, line=number) from None
        if not isinstance(record, dict):
            reason = (
                f"must be a JSON object, got {quote_cell(line)}; write it as " + '{"text": ...}'
            )
            raise data_error(file, reason, line=number)
        records.append((number, record))
    return records


def text_field(path: Path, records: list[dict[str, Any]], *, option: str = "--data.field") -> str:
    """Returns the only key that has a string in every record.

    Args:
      path: of the records, for messages.
      records: one or more.
      option: names the key, for messages.

    Raises:
      DataError: no key has, or several have.
    """
    keys = [
        key for key in records[0] if all(isinstance(record.get(key), str) for record in records)
    ]
    if len(keys) == 1:
        return keys[0]
    if not keys:
        found = ", ".join(map(quote_cell, list(records[0])[:20])) or "no key"
        reason = f"must have a key with a string in every line, got {found} in the first"
        raise data_error(path, f"{reason}; add one, or name one by {option}")
    found = ", ".join(map(quote_cell, keys[:20]))
    reason = f"has {len(keys)} keys with a string in every line"
    raise data_error(path, f"{reason}; choose the text by {option}: one of {found}")


def text_of_record(file: Path, number: int, record: dict[str, Any], name: str) -> str:
    """Returns the text of a line of JSON, with `\\n` as every line end.

    Args:
      file, number: of the line, from 1, for messages.
      record: the object of the line.
      name: the key of the text.

    Raises:
      DataError: the key is missing, or its value is not a string of valid Unicode.
    """
    value = record.get(name)
    if not isinstance(value, str):
        found = f"no {name!r} among {', '.join(map(quote_cell, list(record)[:20])) or 'no keys'}"
        found = quote_cell(json.dumps(value)) if name in record else found
        reason = f"field {name!r} must be a string, got {found}; add it or remove the line"
        raise data_error(file, reason, line=number)
    try:
        value.encode()
    except UnicodeEncodeError:
        reason = f"field {name!r} must be valid Unicode, got half of a surrogate pair; fix it"
        raise data_error(file, reason, line=number) from None
    return normalize_line_ends(value)
