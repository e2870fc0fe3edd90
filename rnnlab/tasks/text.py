"""Language modelling of a text, by characters or bytes."""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from rnnlab.errors import DataError
from rnnlab.tasks.batch import IGNORE, Batch
from rnnlab.tasks.batching.padding import cut
from rnnlab.tasks.data import TRAIN, TaskData, generator
from rnnlab.tasks.readers.text import read_text
from rnnlab.tasks.reference import ngram
from rnnlab.validation import require_one_of, require_positive_int


@dataclass(frozen=True)
class Text:
    """Predicts each symbol of a text from those before it.

    The last share of the text is held out; the vocabulary is the sorted set of the symbols of all
    of it. Shuffled training takes windows at random starts. Stateful training cuts the training
    part into `batch_size` streams that lie end to end, and reads them window by window: `reset` is
    True at the first step of each pass over the streams, and each pass begins at another offset.

    Held out, every symbol is scored exactly once, in consecutive windows. Each window starts from
    nothing: its first symbols are predicted from little, and a longer `evaluation_length` gives a
    lower loss for any model that can use it.

    Attributes:
      path: a UTF-8 file; None is the reference text of Python itself, `pydoc_data.topics`, sorted
        by topic and joined by two newlines. It differs between Python versions.
      unit: what a token is, `"character"` or `"byte"` of UTF-8.
      length: steps of a training window.
      batch_size: rows a batch.
      heldout: share of the text that is held out, its end.
      stateful: whether a batch continues the one before it.
      evaluation_length: steps of a held-out window; None is `length`.

    Raises:
      ValueError: a setting is out of range; a DataError where the text is too short for it.

    >>> data = Text(length=8, batch_size=2).load(seed=0)
    >>> batch = data.train_batch(0)
    >>> batch.inputs.shape, bool((batch.inputs[:, 1:] == batch.targets[:, :-1]).all())
    ((2, 8), True)
    """

    path: Path | None = None
    unit: Literal["character", "byte"] = "character"
    length: int = 128
    batch_size: int = 32
    heldout: float = 0.1
    stateful: bool = False
    evaluation_length: int | None = None

    def __post_init__(self):
        require_positive_int(length=self.length, batch_size=self.batch_size)
        if self.evaluation_length is not None:
            require_positive_int(evaluation_length=self.evaluation_length)
        require_one_of("unit", self.unit, ("character", "byte"))
        if not 0 < self.heldout < 1:
            raise ValueError(f"heldout is {self.heldout}; a share in (0, 1) is needed")

    def load(self, seed: int) -> TaskData:
        """Reads the text. `seed` draws the starts of windows, or the offsets of passes."""
        text = default_text() if self.path is None else read_text(self.path)
        if self.unit == "byte":
            raw = np.frombuffer(text.encode(), np.uint8)
            vocabulary = tuple(f"<0x{byte:02X}>" for byte in np.unique(raw))
            ids = np.unique(raw, return_inverse=True)[1].astype(np.int32)
        else:
            vocabulary = tuple(sorted(set(text)))
            ids = encode(text, vocabulary)
        split = int(len(ids) * (1 - self.heldout))
        streams = self.batch_size if self.stateful else 1
        if (split - 1) // streams < self.length or split == len(ids):
            raise DataError(
                f"{self.path or 'the text'} has {len(ids)} symbols, {split} of them to train on; "
                f"{streams * self.length + 1} or more are needed, and at least 1 held out"
            )
        train, batch = ids[:split], self._stateful if self.stateful else self._shuffled
        return TaskData(
            loss="categorical",
            metrics=("nll", "bits", "accuracy"),
            out_features=len(vocabulary),
            train_batch=functools.partial(batch, train, seed),
            eval_sets={"valid": functools.partial(self._heldout, ids, split)},
            baselines=functools.partial(_baselines, train, ids[split:], len(vocabulary)),
            vocab_size=len(vocabulary),
            autoregressive=True,
            stateful=self.stateful,
            vocabulary=vocabulary,
            fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        )

    def _shuffled(self, ids: np.ndarray, seed: int, n: int) -> Batch:
        start = generator(TRAIN, seed, n).integers(len(ids) - self.length, size=self.batch_size)
        return Batch(*_windows(ids, start, self.length))

    def _stateful(self, ids: np.ndarray, seed: int, n: int) -> Batch:
        windows = (len(ids) - 1) // self.batch_size // self.length
        turn, window = divmod(n, windows)
        stream = windows * self.length
        spare = len(ids) - 1 - self.batch_size * stream
        offset = generator(TRAIN, seed, turn).integers(spare + 1)
        start = offset + np.arange(self.batch_size) * stream + window * self.length
        reset = np.zeros((self.batch_size, self.length), bool)
        reset[:, 0] = window == 0
        return Batch(*_windows(ids, start, self.length), reset=reset)

    def _heldout(self, ids: np.ndarray, split: int) -> Iterator[Batch]:
        length = self.evaluation_length or self.length
        # The symbol before the split is the first input, so that every held-out one is a target.
        rows = -(-(len(ids) - split) // length)
        spare = rows * length - (len(ids) - split)
        inputs = np.pad(ids[split - 1 : -1], (0, spare)).reshape(rows, length)
        targets = np.pad(ids[split:], (0, spare), constant_values=IGNORE).reshape(rows, length)
        return cut(Batch(inputs, targets, targets != IGNORE), self.batch_size)


def _windows(ids: np.ndarray, start: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    taken = ids[start[:, None] + np.arange(length + 1)]
    return taken[:, :-1], taken[:, 1:]


def _baselines(train: np.ndarray, test: np.ndarray, vocab_size: int) -> dict[str, float]:
    (unigram,) = ngram.kneser_ney(train, test, vocab_size, (0,))
    return {
        "uniform": float(np.log(vocab_size)),
        "unigram": unigram.nll,
        "Kneser-Ney n-gram": ngram.best_ngram(train, test, vocab_size).nll,
    }


def default_text() -> str:
    """The topics of Python's own reference, sorted by key and joined by two newlines."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[key] for key in sorted(topics))


def encode(text: str, vocabulary: tuple[str, ...]) -> np.ndarray:
    """The ids of a text's symbols: (time,) of int32.

    Raises:
      DataError: a symbol of the text is not in `vocabulary`.

    >>> encode("abba", ("a", "b")).tolist()
    [0, 1, 1, 0]
    """
    numbers = {symbol: number for number, symbol in enumerate(vocabulary)}
    units = [f"<0x{byte:02X}>" for byte in text.encode()] if _of_bytes(vocabulary) else text
    try:
        return np.fromiter((numbers[unit] for unit in units), np.int32, len(units))
    except KeyError as error:
        unknown = error.args[0]
        place = next(i for i, unit in enumerate(units) if unit == unknown)
        raise DataError(
            f"text has {unknown!r} at place {place}; only the {len(vocabulary)} symbols of the "
            f"training text are known: leave it out"
        ) from None


def decode(ids: np.ndarray, vocabulary: tuple[str, ...]) -> str:
    """The text of ids; bytes that are no UTF-8 become U+FFFD.

    Raises:
      ValueError: an id is not in [0, len(vocabulary)).

    >>> decode(np.array([0, 1, 1, 0]), ("a", "b"))
    'abba'
    """
    ids = np.asarray(ids)
    wrong = np.flatnonzero((ids < 0) | (ids >= len(vocabulary)))
    if wrong.size:
        raise ValueError(
            f"ids[{wrong[0]}] is {ids[wrong[0]]}; an id in [0, {len(vocabulary)}) is needed"
        )
    units = [vocabulary[number] for number in ids]
    if _of_bytes(vocabulary):
        return bytes(int(unit[3:5], 16) for unit in units).decode(errors="replace")
    return "".join(units)


def _of_bytes(vocabulary: tuple[str, ...]) -> bool:
    # A character's symbol is one character; a byte's is its name, as "<0x41>".
    return len(vocabulary[0]) > 1
