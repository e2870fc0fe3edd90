"""The format of a token file: its header, and views of its tokens and documents."""

import dataclasses
import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from rnnlab.atomic_io import parse_json
from rnnlab.errors import DataError
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.text_preparation import byte_name
from rnnlab.tasks.wording import counted

MAGIC, VERSION, ALIGNMENT = b"RNNTOKEN", 1, 64
"""First bytes of a token file; version of the format; alignment in bytes of header and tokens."""

DTYPES = ("uint8", "uint16", "uint32")
"""Types of a token, from the smallest."""

MAX_HEADER_BYTES = 64 << 20
"""Size of the largest header, which contains the vocabulary or the tokenizer."""

CHECKED_BYTES = 64 << 20
"""Largest file whose SHA-256 is compared whenever a task loads it. Larger ones are compared by
`rnnlab data verify` only, since loading must not read the file."""

PIECE_BYTES = 8 << 20
"""Bytes per piece that is read for a digest."""

_PREAMBLE = struct.Struct("<8sII32s16x")


@dataclass(frozen=True)
class Header:
    """The description of a token file, at its beginning.

    Attributes:
      by: what a token is: a character, a byte, or a token of a `tokenizer`.
      dtype: type of a token, one of `DTYPES`.
      count: number of tokens.
      documents: number of documents.
      vocab_size: number of token ids.
      sha256: hexadecimal digest of everything behind the header.
      characters: the character of each id, if tokens are characters.
      tokenizer: the content of a `tokenizer.json` of the package tokenizers, if tokens are its.
    """

    by: Literal["characters", "bytes", "tokenizer"]
    dtype: str
    count: int
    documents: int
    vocab_size: int
    sha256: str
    characters: str = field(default="", repr=False)
    tokenizer: str = field(default="", repr=False)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The symbol of each token id: a character, or the name of a byte; () with a tokenizer."""
        if self.by == "bytes":
            return tuple(map(byte_name, range(256)))
        return tuple(self.characters)

    @property
    def summary(self) -> str:
        """The contents in numbers, as in `4 characters (uint8) in 1 document, 2 ids`."""
        what = "tokens of a tokenizer" if self.by == "tokenizer" else self.by
        return (
            f"{self.count:,} {what} ({self.dtype}) in {counted(self.documents, 'document')}, "
            f"{self.vocab_size:,} ids"
        )

    @property
    def token_bytes(self) -> int:
        """Bytes of the tokens, with their padding."""
        return padded(self.count * np.dtype(self.dtype).itemsize, 8)


class Views(NamedTuple):
    """Read-only arrays in the file, of which only what is indexed is read.

    Attributes:
      tokens: (count,) ids of the header's dtype.
      documents: (documents,) of uint64, the index of the first token of each document.
    """

    tokens: np.ndarray
    documents: np.ndarray


@dataclass(frozen=True)
class TokenFile:
    """A valid token file, as `open_token_file` returns it.

    Attributes:
      path: the file.
      header: its description.
      digest: hexadecimal SHA-256 of the header, which contains the digest of the rest.
      offset: bytes before the first token.
    """

    path: Path
    header: Header
    digest: str
    offset: int

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.offset + self.header.token_bytes + 8 * self.header.documents

    def views(self) -> Views:
        """Maps the file into memory and returns its arrays.

        Copy what you need, and let the arrays go: pages that were read count as memory of the
        process while the map exists. Opening it takes some 0.1 ms.

        Raises:
          DataError: the file is missing, or is not the one that was opened.
        """
        try:
            # A plain array: slices of a `np.memmap` take several times as long to make.
            content = np.asarray(np.memmap(self.path, np.uint8, "r"))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise data_error(self.path, f"cannot be read: {reason}; restore it") from error
        preamble = _PREAMBLE.pack(
            MAGIC, VERSION, self.offset - _PREAMBLE.size, bytes.fromhex(self.digest)
        )
        if len(content) != self.size or content[: _PREAMBLE.size].tobytes() != preamble:
            raise data_error(
                self.path, "must not change while it is used, got other content; restore it"
            )
        end = self.offset + self.header.token_bytes
        width = np.dtype(self.header.dtype).itemsize
        tokens = content[self.offset : self.offset + self.header.count * width]
        return Views(
            tokens.view(np.dtype(self.header.dtype).newbyteorder("<")), content[end:].view("<u8")
        )

    def check_content(self, report: Callable[[int], None] = lambda done: None) -> None:
        """Compares the SHA-256 of everything behind the header; reads the whole file.

        Args:
          report: receives the number of bytes read so far.

        Raises:
          DataError: it differs, or the file cannot be read.
        """
        digest, done = hashlib.sha256(), self.offset
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                while piece := file.read(PIECE_BYTES):
                    digest.update(piece)
                    done += len(piece)
                    report(done)
        except OSError as error:
            raise data_error(self.path, f"cannot be read: {error.strerror}; restore it") from error
        if digest.hexdigest() != self.header.sha256:
            raise data_error(
                self.path,
                f"content must have the SHA-256 {self.header.sha256[:16]}... of its header, got "
                f"{digest.hexdigest()[:16]}...: it was changed; prepare it again",
            )


def open_token_file(path: Path) -> TokenFile:
    """Reads the header of a token file and compares its digest, and the size of the file.

    The content of a file of up to `CHECKED_BYTES` is compared with its SHA-256, too.

    Raises:
      DataError: the file is missing, not a token file, truncated or changed.
    """
    prepare = f"prepare it by `rnnlab data tokens FILES --out {path}`"
    try:
        if path.is_dir():
            raise data_error(path, "is a directory; give a token file")
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_PREAMBLE.size)
            if not start.startswith(MAGIC):
                raise data_error(path, f"is not a token file; {prepare}")
            if len(start) < _PREAMBLE.size:
                raise _truncated(path, _PREAMBLE.size, size)
            _, version, header_bytes, digest = _PREAMBLE.unpack(start)
            if version != VERSION:
                raise data_error(
                    path, f"must have version {VERSION}, got {version}; upgrade rnnlab"
                )
            raw = file.read(min(header_bytes, MAX_HEADER_BYTES + 1))
    except OSError as error:
        raise data_error(path, f"cannot be read: {error.strerror}; {prepare}") from error
    offset = _PREAMBLE.size + header_bytes
    if len(raw) < header_bytes <= MAX_HEADER_BYTES:
        raise _truncated(path, offset, size)
    if hashlib.sha256(raw).digest() != digest:
        raise data_error(path, "header must have its SHA-256, got another; prepare it again")
    try:
        header = Header(**parse_json(raw, path))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path} has a header that is not valid: {error}; prepare it again"
        ) from None
    file = TokenFile(path, header, digest.hex(), offset)
    if size != file.size:
        raise _truncated(path, file.size, size)
    if size <= CHECKED_BYTES:
        file.check_content()
    return file


def header_bytes(header: Header, size: int | None = None) -> bytes:
    """Returns the first parts of a token file, up to the tokens.

    Args:
      header: of the file.
      size: bytes that they must take; None: as few as possible.
    """
    fields = {k: v for k, v in dataclasses.asdict(header).items() if v != ""}
    text = json.dumps(fields, ensure_ascii=False).encode()
    padding = padded(len(text), ALIGNMENT) if size is None else size - _PREAMBLE.size
    text = text.ljust(padding, b" ")
    return _PREAMBLE.pack(MAGIC, VERSION, len(text), hashlib.sha256(text).digest()) + text


def padded(size: int, multiple: int) -> int:
    """Returns the smallest multiple that is at least `size`.

    >>> padded(9, 8)
    16
    """
    return -(-size // multiple) * multiple


def smallest_dtype(vocab_size: int) -> str:
    """Returns the smallest type of a token for a number of ids.

    >>> smallest_dtype(256), smallest_dtype(257)
    ('uint8', 'uint16')
    """
    return next(name for name in DTYPES if vocab_size - 1 <= np.iinfo(name).max)


def _truncated(path: Path, wanted: int, got: int) -> DataError:
    reason = "it is truncated" if got < wanted else "something was appended"
    return data_error(path, f"must have {wanted} bytes, got {got}: {reason}; prepare it again")
