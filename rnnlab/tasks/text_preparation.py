"""Text as token ids: what a training fixes, and predictions for every symbol of a text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.special import log_softmax

from rnnlab.errors import DataError
from rnnlab.tasks.batch import IGNORE_INDEX, Batch, loss_mask
from rnnlab.tasks.batching.padding import split_batches
from rnnlab.tasks.predictions import RUN_DATA, Outputs, Predictions, require_run_data
from rnnlab.tasks.readers.documents import document_files, is_json_lines, read_documents

Positioned = tuple[Batch, np.ndarray]
"""A batch, and the positions in the text of its scored symbols: (scored,) of int64."""


@dataclass(frozen=True)
class TextPreparation:
    """The vocabulary and the windows of a training on a text.

    Attributes:
      vocabulary: the symbol of each token id: a character, or the name of a byte such as `<0x41>`.
      window: time steps of an evaluation window.
      batch_size: windows per batch.
      text_field: the key of the text in JSON Lines; None detects it.
      test: yields the batches of the test part of the training's own text, each with the positions
        of its scored symbols in the text.
    """

    vocabulary: tuple[str, ...] = field(repr=False)
    window: int
    batch_size: int
    text_field: str | None = None
    test: Callable[[], Iterator[Positioned]] | None = field(
        default=None, repr=False, metadata=RUN_DATA
    )

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbol or token of each id, as predictions show it."""
        return self.vocabulary

    @property
    def of_bytes(self) -> bool:
        """Whether the tokens are bytes, so that files are read as such."""
        return _of_bytes(self.vocabulary)

    def encode(self, content: str | bytes) -> np.ndarray:
        """Returns the token ids of a text, see `encode`."""
        return encode(content, self.vocabulary)

    def decode(self, ids: np.ndarray) -> str:
        """Returns the text of token ids, see `decode`."""
        return decode(ids, self.vocabulary)

    def positioned_windows(self, ids: np.ndarray, start: int, end: int) -> Iterator[Positioned]:
        """Yields the batches of `windows`, each with the positions of its scored symbols."""
        position = max(start, 1)
        for batch in self.windows(ids, start, end):
            count = int(batch.mask.sum())
            yield batch, np.arange(position, position + count)
            position += count

    def windows(self, ids: np.ndarray, start: int, end: int) -> Iterator[Batch]:
        """Yields batches that score symbols `start` to `end - 1` once, each given the one before.

        The first symbol of a text is not scored, since nothing precedes it.
        """
        start = max(start, 1)
        rows = -(-(end - start) // self.window)
        padding = rows * self.window - (end - start)
        inputs = np.pad(ids[start - 1 : end - 1], (0, padding)).reshape(rows, -1)
        targets = np.pad(ids[start:end], (0, padding), constant_values=IGNORE_INDEX)
        targets = targets.reshape(rows, -1)
        return split_batches(Batch(inputs, targets, targets != IGNORE_INDEX), self.batch_size)

    def predict(
        self, outputs: Outputs, source: Path | str | None, horizon: int | None
    ) -> Predictions:
        """Returns how likely a model finds each symbol of a text, except the first.

        The columns are `position`, the index of the symbol in the text; `symbol`; `nats`, its
        negative log likelihood given the symbols before it in its window; `predicted`, the most
        likely symbol, and its `probability`. Control characters are shown as in Python, such as
        `\\n`.

        Args:
          outputs: the model.
          source: None takes the test part of the training's text; a string is the text; a `Path`
            is a file, folder or glob pattern.
          horizon: must be None.

        Raises:
          DataError: the text has a symbol that the vocabulary lacks, or fewer than two symbols.
          ValueError: `horizon` is not None.
        """
        if horizon is not None:
            raise ValueError(
                f"horizon must be None for a text, whose next symbol is predicted, got {horizon}; "
                "remove it"
            )
        columns: dict[str, list[np.ndarray]] = {
            name: [] for name in ("position", "id", "nats", "best", "probability")
        }
        for batch, position in self._batches(source):
            keep = loss_mask(batch)
            raw, targets = (
                np.asarray(outputs(batch), np.float64)[keep],
                batch.targets[keep][:, None],
            )
            logs = log_softmax(raw, axis=-1)
            best = raw.argmax(axis=-1)[:, None]
            columns["position"].append(position)
            columns["id"].append(targets[:, 0])
            columns["nats"].append(-np.take_along_axis(logs, targets, 1)[:, 0])
            columns["best"].append(best[:, 0])
            columns["probability"].append(np.exp(np.take_along_axis(logs, best, 1)[:, 0]))
        position, ids, nats, best, probability = map(np.concatenate, columns.values())
        symbols = np.array(list(map(_visible, self.symbols)), object)
        mean, right = nats.mean(), int((best == ids).sum())
        return Predictions(
            "symbol",
            {
                "position": position,
                "symbol": symbols[ids],
                "nats": nats,
                "predicted": symbols[best],
                "probability": probability,
            },
            f"{len(nats):,} symbols; {mean:.4f} nats ({mean / np.log(2):.4f} bits) per symbol; "
            f"the most likely symbol is right for {right:,} of them ({right / len(nats):.1%}).",
        )

    def read(self, source: Path | str | bytes) -> tuple[str | bytes, np.ndarray]:
        """Returns a text and its token ids.

        Args:
          source: the text; or a `Path`: a file, folder or glob pattern.

        Raises:
          DataError: the text has a symbol that the vocabulary lacks, or fewer than two tokens.
        """
        if isinstance(source, str | bytes):
            content, ids = source, self.encode(source)
        else:
            are_records = any(map(is_json_lines, document_files(Path(source))))
            content = read_documents(
                source,
                field=self.text_field if are_records else None,
                as_bytes=self.of_bytes,
            ).content
            try:
                ids = self.encode(content)
            except DataError as error:
                raise DataError(f"{source}: {error}") from None
        if len(ids) < 2:
            name = "the text" if isinstance(source, str | bytes) else source
            raise DataError(
                f"{name} must have >= 2 symbols, of which the first is not predicted, got "
                f"{len(ids)}; use a longer text"
            )
        return content, ids

    def _batches(self, source: Path | str | None) -> Iterator[Positioned]:
        if source is None:
            return require_run_data(self.test)()
        _, ids = self.read(source)
        return self.positioned_windows(ids, 0, len(ids))


def encode(text: str | bytes, vocabulary: tuple[str, ...]) -> np.ndarray:
    """Returns the token ids of a text, (time,) of int32.

    Args:
      text: characters; or bytes, if the vocabulary is of bytes. Characters are encoded as UTF-8
        for a vocabulary of bytes.
      vocabulary: the symbol of each id.

    Raises:
      DataError: a symbol of the text is not in `vocabulary`.

    >>> encode("abba", ("a", "b")).tolist()
    [0, 1, 1, 0]
    """
    if _of_bytes(vocabulary):
        raw = np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8)
        numbers = np.full(256, -1, np.int32)
        numbers[[byte_of(symbol) for symbol in vocabulary]] = np.arange(len(vocabulary))
        ids, symbols = numbers[raw], raw
    else:
        known = {symbol: number for number, symbol in enumerate(vocabulary)}
        ids, symbols = np.fromiter((known.get(x, -1) for x in text), np.int32, len(text)), text
    unknown = np.flatnonzero(ids < 0)
    if unknown.size:
        index = int(unknown[0])
        symbol = byte_name(symbols[index]) if _of_bytes(vocabulary) else symbols[index]
        raise DataError(
            f"text must consist of the {len(vocabulary)} symbols of the training text, got "
            f"{symbol!r} at index {index}; remove it"
        )
    return ids


def decode(ids: np.ndarray, vocabulary: tuple[str, ...]) -> str:
    """Returns the text of token ids; bytes that are not valid UTF-8 become U+FFFD.

    Raises:
      ValueError: an id is not in [0, len(vocabulary)).

    >>> decode(np.array([0, 1, 1, 0]), ("a", "b"))
    'abba'
    """
    ids = np.asarray(ids)
    wrong = np.flatnonzero((ids < 0) | (ids >= len(vocabulary)))
    if wrong.size:
        raise ValueError(
            f"ids[{wrong[0]}] must be in [0, {len(vocabulary)}), got {ids[wrong[0]]}; "
            "pass the vocabulary that the ids were encoded with"
        )
    symbols = [vocabulary[number] for number in ids]
    if _of_bytes(vocabulary):
        return bytes(map(byte_of, symbols)).decode(errors="replace")
    return "".join(symbols)


def byte_name(byte: int) -> str:
    """Returns the symbol of a byte.

    >>> byte_name(65)
    '<0x41>'
    """
    return f"<0x{byte:02X}>"


def byte_of(symbol: str) -> int:
    """Returns the byte that `byte_name` named."""
    return int(symbol[3:5], 16)


def _visible(symbol: str) -> str:
    return symbol if symbol.isprintable() else repr(symbol)[1:-1]


def _of_bytes(vocabulary: tuple[str, ...]) -> bool:
    # A character's symbol is one character; a byte's is its name, such as "<0x41>".
    return len(vocabulary[0]) > 1
