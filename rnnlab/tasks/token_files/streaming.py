"""Texts of any size, read in pieces: files, folders, patterns and lines of JSON."""

import codecs
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rnnlab.tasks.readers.documents import document_files, is_json_lines, text_field, text_of_record
from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.text import file_kind, normalize_line_ends

PIECE_BYTES = 1 << 20
"""Bytes per piece that is read."""


class Piece(NamedTuple):
    """A part of a document.

    Attributes:
      content: characters, or bytes.
      starts: whether it is the first part of its document.
      done: bytes of all files that are read so far.
    """

    content: str | bytes
    starts: bool
    done: int


def source_files(paths: Sequence[Path]) -> list[Path]:
    """Returns the files that paths stand for: files, folders and glob patterns.

    Raises:
      DataError: one is missing, empty, or not a file.
    """
    files = [file for path in paths for file in document_files(path, any_size=True)]
    for file in files:
        try:
            if not file.is_file():
                what = "is a pipe or a device" if file.exists() else "does not exist"
                raise data_error(file, f"{what}; give a file")
            if file.stat().st_size == 0:
                raise data_error(file, "is empty; give a file with data")
        except OSError as error:
            raise data_error(file, f"cannot be read: {error.strerror}; give a file") from error
    return files


def read_pieces(files: Iterable[Path], *, as_bytes: bool, field: str | None) -> Iterator[Piece]:
    """Yields the documents of files in pieces: a file is one, or each line of a JSON Lines file.

    Args:
      files: see `source_files`.
      as_bytes: yields the bytes of a file as they are; else its characters with `\\n` as every line
        end, without byte order mark.
      field: the key of the text in JSON Lines; None takes the only key of the first line that has a
        string.

    Raises:
      DataError: a file cannot be read, is not UTF-8 text, or a line of JSON has no text.
    """
    before = 0
    for file in files:
        try:
            if is_json_lines(file):
                pieces = _read_json_lines(file, as_bytes, field)
            else:
                pieces = _read_bytes(file) if as_bytes else _read_text(file)
            for content, starts, done in pieces:
                if content:
                    yield Piece(content, starts, before + done)
            before += file.stat().st_size
        except OSError as error:
            raise data_error(file, f"cannot be read: {error.strerror}; give a file") from error


def _read_bytes(file: Path) -> Iterator[tuple[bytes, bool, int]]:
    done = 0
    with file.open("rb") as opened:
        while raw := opened.read(PIECE_BYTES):
            done += len(raw)
            yield raw, done == len(raw), done


def _read_text(file: Path) -> Iterator[tuple[str, bool, int]]:
    advice = ", or use its bytes: --by bytes"
    rest, held, done, line, starts = b"", "", 0, 1, True
    with file.open("rb") as opened:
        while True:
            raw = opened.read(PIECE_BYTES)
            if done == 0 and (kind := file_kind(raw)):
                reason = f"looks like {kind}, not text; convert it to UTF-8 text{advice}"
                raise data_error(file, reason)
            joined, first = rest + raw, done - len(rest)
            done += len(raw)
            try:
                if b"\0" in raw:
                    raise _position(
                        file, "got NUL", joined, joined.index(b"\0"), first, line, advice
                    )
                text, used = codecs.utf_8_decode(joined, "strict", not raw)
            except UnicodeDecodeError as error:
                reason = f"got 0x{joined[error.start]:02x}"
                raise _position(file, reason, joined, error.start, first, line, advice) from error
            rest, line = joined[used:], line + joined[:used].count(b"\n")
            text = held + (text.removeprefix("\ufeff") if first == 0 else text)
            # The other half of a line end may be in the next piece.
            held = "\r" if raw and text.endswith("\r") else ""
            text = normalize_line_ends(text.removesuffix("\r") if held else text)
            if text:
                yield text, starts, done
                starts = False
            if not raw:
                return


def _position(
    file: Path, found: str, raw: bytes, index: int, first: int, line: int, advice: str
) -> Exception:
    """The error about byte `index` of `raw`, whose own bytes start at `first` in the file."""
    reason = f"must be UTF-8 text, {found} at byte {first + index}; convert it to UTF-8{advice}"
    return data_error(file, reason, line=line + raw.count(b"\n", 0, index))


def _read_json_lines(
    file: Path, as_bytes: bool, field: str | None
) -> Iterator[tuple[str | bytes, bool, int]]:
    done, name = 0, field
    with file.open("rb") as opened:
        for number, raw in enumerate(opened, 1):
            first, done = done, done + len(raw)
            if not raw.strip():
                continue
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                record = json.loads(line)
            except UnicodeDecodeError as error:
                reason = f"must be UTF-8 text, got 0x{raw[error.start]:02x} at byte"
                reason = f"{reason} {first + error.start}; convert it to UTF-8"
                raise data_error(file, reason, line=number) from None
            except (ValueError, RecursionError) as error:
                reason = f"is not JSON: {error}; write one JSON object per line"
                raise data_error(file, reason, line=number) from None
            if not isinstance(record, dict):
                reason = f"must be a JSON object, got {quote_cell(line.strip())}; write it as "
                raise data_error(file, reason + '{"text": ...}', line=number)
            name = name or text_field(file, [record], option="--field")
            text = text_of_record(file, number, record, name)
            yield (text.encode() if as_bytes else text), True, done
