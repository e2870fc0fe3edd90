"""Prepare a token file from texts of any size, in constant memory."""

import dataclasses
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from rnnlab.atomic_io import mkdir_durable, open_atomic, raise_resource_errors
from rnnlab.errors import DataError
from rnnlab.tasks.token_files.encoders import (
    ByteEncoder,
    CharacterEncoder,
    Encoder,
    TokenizerEncoder,
    used_characters,
)
from rnnlab.tasks.token_files.format import Header, TokenFile, header_bytes, open_token_file
from rnnlab.tasks.token_files.streaming import read_pieces, source_files

COUNT_LIMIT = 2**62
"""A number with as many digits as the largest count, for which the header has space."""

Report = Callable[[str, int, int], None]
"""Receives what is done, the bytes that are read so far, and those of all files."""


def prepare_token_file(
    paths: Sequence[Path],
    out: Path,
    *,
    by: str = "characters",
    field: str | None = None,
    end_token: str | None = None,
    report: Report = lambda what, done, total: None,
) -> TokenFile:
    """Writes the tokens of texts to a file, completely or not at all, and returns it.

    The texts are read in pieces: twice for characters, whose vocabulary is the sorted set of all
    characters, else once. Every file is a document, and every line of a `.jsonl` or `.ndjson` file.

    Args:
      paths: files, folders and glob patterns, in this order.
      out: the file to write.
      by: what a token is: `"characters"`, `"bytes"`, or the path of a `tokenizer.json`.
      field: the key of the text in JSON Lines; None takes the only key of the first line that has a
        string.
      end_token: token of the tokenizer that is added behind every document; None: none.
      report: receives the progress.

    Raises:
      DataError: a file is missing, empty, or not UTF-8 text; names the position.
      InsufficientResourcesError: the file could not be written.
      ValueError: `out` exists, or an argument does not fit the others.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = Path(folder, "a.txt")
    ...     _ = text.write_text("abba")
    ...     file = prepare_token_file([text], Path(folder, "a.tokens"))
    ...     file.header.count, file.header.vocabulary, file.views().tokens.tolist()
    (4, ('a', 'b'), [0, 1, 1, 0])
    """
    if out.exists():
        raise ValueError(
            f"{out} must not exist, since a run may use it; remove it or choose another --out"
        )
    if not paths:
        raise ValueError("FILES must have at least one path, got none; name a file")
    if end_token is not None and by in ("characters", "bytes"):
        raise ValueError(
            f"end_token must be None without a tokenizer, got {end_token!r}; remove it or give a "
            "tokenizer.json by --by"
        )
    files = source_files(paths)
    total = sum(file.stat().st_size for file in files)
    as_bytes = by == "bytes"
    encoder: Encoder
    if as_bytes:
        encoder = ByteEncoder()
    elif by == "characters":
        pieces = read_pieces(files, as_bytes=False, field=field)
        used = used_characters(pieces, lambda done: report("reading characters", done, total))
        if not used.any():
            raise _no_text(paths)
        encoder = CharacterEncoder(used)
    elif Path(by).suffix == ".json":
        encoder = TokenizerEncoder(Path(by), end_token)
    else:
        raise ValueError(
            f"by must be characters, bytes or the path of a tokenizer.json, got {by!r}; choose one"
        )
    pieces = read_pieces(files, as_bytes=as_bytes, field=field)
    file = write_token_file(
        out, encoder, encoder.encode(pieces), lambda done: report("writing tokens", done, total)
    )
    if file is None:
        raise _no_text(paths)
    return file


def write_token_file(
    out: Path,
    encoder: Encoder,
    encoded: Iterable[tuple[np.ndarray, bool, int]],
    progress: Callable[[int], None] = lambda done: None,
) -> TokenFile | None:
    """Writes token ids to a file, completely or not at all, and returns it; None without tokens.

    Args:
      out: the file to write.
      encoder: the vocabulary and the dtype.
      encoded: ids of the encoder's dtype, whether they start a document, and the progress so far.
      progress: receives the progress.

    Raises:
      InsufficientResourcesError: the file could not be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ids = np.array([65, 66], np.uint8)
    ...     file = write_token_file(Path(folder, "a.tokens"), ByteEncoder(), [(ids, True, 2)])
    ...     file.header.summary
    '2 bytes (uint8) in 1 document, 256 ids'
    """
    with raise_resource_errors(out):
        mkdir_durable(out.parent)
    try:
        with open_atomic(out) as file, tempfile.TemporaryFile(dir=out.parent) as documents:
            header = Header(
                **encoder.fields,
                dtype=encoder.dtype,
                count=COUNT_LIMIT,
                documents=COUNT_LIMIT,
                vocab_size=encoder.vocab_size,
                sha256="0" * 64,
            )
            size = file.write(header_bytes(header))
            header = _write_payload(header, encoded, file, documents, progress)
            if header.count == 0:
                raise _NoTokens
            file.seek(0)
            file.write(header_bytes(header, size))
    except _NoTokens:
        return None
    return open_token_file(out)


class _NoTokens(Exception):
    """Discards a file without a token."""


def _write_payload(
    header: Header,
    encoded: Iterable[tuple[np.ndarray, bool, int]],
    file: IO[bytes],
    documents: IO[bytes],
    progress: Callable[[int], None],
) -> Header:
    """Writes tokens and documents, and returns the header with their numbers and digest."""
    digest, count, number = hashlib.sha256(), 0, 0

    def write(content: bytes) -> None:
        file.write(content)
        digest.update(content)

    pending = False  # a document whose first piece has no token starts with the next one
    for ids, starts, done in encoded:
        pending |= starts
        if len(ids):
            if pending:
                documents.write(np.array([count], "<u8").tobytes())
                number, pending = number + 1, False
            write(ids.astype(ids.dtype.newbyteorder("<"), copy=False).tobytes())
            count += len(ids)
        progress(done)
    header = dataclasses.replace(header, count=count, documents=number)
    write(b"\0" * (header.token_bytes - count * np.dtype(header.dtype).itemsize))
    documents.seek(0)
    while piece := documents.read(shutil.COPY_BUFSIZE):
        write(piece)
    return dataclasses.replace(header, sha256=digest.hexdigest())


def _no_text(paths: Sequence[Path]) -> DataError:
    names = ", ".join(map(str, paths[:3])) + (", ..." if len(paths) > 3 else "")
    return DataError(f"{names} must have at least one symbol, got none; add a text")
