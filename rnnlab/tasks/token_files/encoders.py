"""Encoders of text pieces as token ids: characters, bytes, or a tokenizer's tokens."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rnnlab.optional import require_module
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.token_files.format import MAX_HEADER_BYTES, smallest_dtype
from rnnlab.tasks.token_files.streaming import Piece

TOKENIZER_PIECE = 1 << 16
"""Characters that a tokenizer encodes in one call, up to the next word boundary behind them."""

MAX_PIECE = 1 << 22
"""Length at which a text that has no word boundary is cut for the tokenizer, in characters."""

WORD_END = re.compile(r"(?<=[^\W_])[ \n]")
"""White space behind a letter or digit, where tokens of GPT-2, GPT-4 and SentencePiece
start."""

CODE_POINTS = 0x110000
"""Number of characters of Unicode."""


class Encoder(Protocol):
    """Token ids of the pieces of documents.

    Attributes:
      dtype: type of a token.
      vocab_size: number of ids.
      fields: the fields of a token file's header that describe the vocabulary.
    """

    dtype: str
    vocab_size: int
    fields: dict[str, str]

    def encode(self, pieces: Iterable[Piece]) -> Iterator[tuple[np.ndarray, bool, int]]:
        """Yields ids, whether they start a document, and the bytes that are read so far."""


class ByteEncoder:
    """Every byte is a token, and its value the id."""

    dtype, vocab_size = "uint8", 256

    def __init__(self):
        self.fields = {"by": "bytes"}

    def encode(self, pieces: Iterable[Piece]) -> Iterator[tuple[np.ndarray, bool, int]]:
        """See `Encoder.encode`."""
        for content, starts, done in pieces:
            yield np.frombuffer(content, np.uint8), starts, done


class CharacterEncoder:
    """Every character is a token; ids are in the order of the characters.

    Args:
      used: (CODE_POINTS,) bool, the characters of the vocabulary, see `used_characters`.
    """

    def __init__(self, used: np.ndarray):
        codes = np.flatnonzero(used)
        self.vocab_size, self.dtype = len(codes), smallest_dtype(len(codes))
        self.fields = {"by": "characters", "characters": "".join(map(chr, codes))}
        self._ids = np.zeros(CODE_POINTS, self.dtype)
        self._ids[codes] = np.arange(len(codes))

    def encode(self, pieces: Iterable[Piece]) -> Iterator[tuple[np.ndarray, bool, int]]:
        """See `Encoder.encode`."""
        for content, starts, done in pieces:
            yield self._ids[code_points(content)], starts, done


class TokenizerEncoder:
    """The tokens of a `tokenizer.json` of the package tokenizers.

    A document is encoded in pieces of some 65,000 characters, each up to a white space behind a
    letter or digit, where a new token starts anyway. Special tokens are not added.

    Args:
      path: the file.
      end: token that is added behind every document, such as `<|endoftext|>`; None: none.

    Raises:
      DataError: the file is not a tokenizer, or has no token `end`.
      ValueError: the package tokenizers is not installed.
    """

    def __init__(self, path: Path, end: str | None = None):
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise data_error(path, f"cannot be read: {reason}; give a tokenizer.json") from error
        self._tokenizer = load_tokenizer(text, str(path))
        text = json.dumps(json.loads(text), ensure_ascii=False)
        if len(text.encode()) > MAX_HEADER_BYTES // 2:
            reason = f"must have <= {MAX_HEADER_BYTES // 2} bytes, got {len(text.encode())}"
            raise data_error(path, f"{reason}; use a smaller vocabulary")
        self.vocab_size = vocab_size_of(self._tokenizer)
        self.dtype = smallest_dtype(self.vocab_size)
        self.fields = {"by": "tokenizer", "tokenizer": text}
        end_id = None if end is None else self._tokenizer.token_to_id(end)
        if end is not None and end_id is None:
            raise data_error(path, f"must have the token {end!r}, got a vocabulary without it")
        self._end = np.array([] if end_id is None else [end_id], self.dtype)

    def encode(self, pieces: Iterable[Piece]) -> Iterator[tuple[np.ndarray, bool, int]]:
        """See `Encoder.encode`."""
        first = True
        for content, starts, done in _whole_words(pieces):
            if starts and not first and len(self._end):
                yield self._end, False, done
            first = False
            encoded = self._tokenizer.encode(content, add_special_tokens=False)
            yield np.array(encoded.ids, self.dtype), starts, done
        if not first and len(self._end):
            yield self._end, False, done


def used_characters(pieces: Iterable[Piece], progress: Callable[[int], None]) -> np.ndarray:
    """Returns which characters pieces have, (CODE_POINTS,) bool.

    Args:
      pieces: of characters.
      progress: receives the bytes that are read so far.
    """
    used = np.zeros(CODE_POINTS, bool)
    for content, _, done in pieces:
        used[code_points(content)] = True
        progress(done)
    return used


def code_points(text: str) -> np.ndarray:
    """Returns the code point of each character, (len(text),) of uint32.

    >>> code_points("aé").tolist()
    [97, 233]
    """
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def load_tokenizer(content: str, name: str) -> Any:
    """Returns the `tokenizers.Tokenizer` of the content of a `tokenizer.json`.

    Args:
      content: the JSON.
      name: what it is, for messages.

    Raises:
      DataError: it is not a tokenizer.
      ValueError: the package tokenizers is not installed.
    """
    tokenizers = require_module("tokenizers", "tokenizers")
    try:
        return tokenizers.Tokenizer.from_str(content)
    except Exception as error:  # the package raises no narrower class
        reason = f"is not a tokenizer: {error}; give a tokenizer.json"
        raise data_error(Path(name), reason) from None


def vocab_size_of(tokenizer: Any) -> int:
    """Returns the number of ids of a tokenizer, also where some have no token."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1


def _whole_words(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yields the pieces of documents, cut where no token of a usual tokenizer lies across."""
    text, starts, done = "", False, 0
    for piece in pieces:
        if piece.starts:
            if text:
                yield Piece(text, starts, done)
            text, starts = "", True
        text, done = text + piece.content, piece.done
        while len(text) > TOKENIZER_PIECE and (cut := _word_end(text)) is not None:
            yield Piece(text[:cut], starts, done)
            text, starts = text[cut:], False
    if text:
        yield Piece(text, starts, done)


def _word_end(text: str) -> int | None:
    """The index at which to cut a text; None if its next word boundary is not read yet."""
    found = WORD_END.search(text, TOKENIZER_PIECE)
    if found is not None:
        return found.start()
    return MAX_PIECE if len(text) > MAX_PIECE else None
