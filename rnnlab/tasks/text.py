"""Language modelling of a text, by characters or bytes."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rnnlab.errors import DataError
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.data_files import save_texts
from rnnlab.tasks.readers.documents import read_documents
from rnnlab.tasks.reference import ngram
from rnnlab.tasks.text_preparation import TextPreparation, byte_name
from rnnlab.tasks.text_preparation import decode as decode
from rnnlab.tasks.text_preparation import encode as encode
from rnnlab.validation import require_one_of, require_positive_int


@dataclass(frozen=True)
class Text:
    """Predict each symbol of a text from the symbols before it.

    The text is split into a validation part (its beginning), a training part and a test part (its
    end). The validation part selects the best step, the test part is reported. The training part
    lies next to the test part because neighboring pages resemble each other. Parts of a text differ
    in difficulty, so compare losses on the same part only. The vocabulary is the sorted set of
    symbols of the whole text.

    Shuffled training draws windows at random starts. Stateful training cuts the training part into
    `batch_size` consecutive streams and reads them window by window: `reset` is True at the first
    time step of each pass over the streams, and each pass starts at another offset.

    In evaluation every symbol is scored exactly once, in consecutive windows (except the first of
    the text, which nothing precedes). Each window starts from the initial state, so its first
    symbols have little context: a longer `evaluation_length` lowers the loss of any model that can
    use it.

    Baselines are the uniform distribution, the unigram and a modified Kneser-Ney n-gram, see
    `rnnlab.tasks.reference.ngram`. They are counted on everything before the test part, which
    includes the validation part.

    Attributes:
      path: a UTF-8 file, a folder of such files, a glob pattern such as `texts/*.txt`, or a
        `.jsonl` file, see `rnnlab.tasks.readers.documents`. Documents are joined by two newlines.
        None is the reference text of Python itself, `pydoc_data.topics`, sorted by topic. It
        differs between Python versions.
      token: what a token is, `"character"` or `"byte"`. Files that are not UTF-8 text can be read
        by bytes only.
      length: time steps of a training window.
      batch_size: examples per batch.
      valid: fraction of the text, at its beginning, that selects the best step. With 0 the test
        part selects it too and is called `"valid"`, as in runs of the first rnnlab.
      test: fraction of the text, at its end, that is reported.
      stateful: whether a batch continues the batch before it.
      evaluation_length: time steps of an evaluation window; None is `length`.
      field: the key of the text in a `.jsonl` or `.ndjson` file; None takes the only key that has a
        string in every line.

    Raises:
      ValueError: a setting is out of range; DataError if the text is too short for the settings.

    >>> data = Text(length=8, batch_size=2).load(seed=0)
    >>> batch = data.train_batch(0)
    >>> batch.inputs.shape, bool((batch.inputs[:, 1:] == batch.targets[:, :-1]).all())
    ((2, 8), True)
    """

    path: Path | None = None
    token: Literal["character", "byte"] = "character"
    length: int = 128
    batch_size: int = 32
    valid: float = 0.05
    test: float = 0.1
    stateful: bool = False
    evaluation_length: int | None = None
    field: str | None = None

    def __post_init__(self):
        require_positive_int(length=self.length, batch_size=self.batch_size)
        if self.evaluation_length is not None:
            require_positive_int(evaluation_length=self.evaluation_length)
        require_one_of("token", self.token, ("character", "byte"))
        if not 0 <= self.valid < 1:
            raise ValueError(f"valid must be a fraction in [0, 1), got {self.valid}; use 0.05")
        if not 0 < self.test < 1:
            raise ValueError(f"test must be a fraction in (0, 1), got {self.test}; use 0.1")
        if self.valid + self.test >= 1:
            raise ValueError(
                f"valid + test must be < 1, got {self.valid} + {self.test}; lower one of them"
            )

    @classmethod
    def from_texts(
        cls, texts: Iterable[str] | str, *, path: Path | str | None = None, **settings: Any
    ) -> "Text":
        """Returns the task for texts in memory, which it writes to a file.

        A run reads its data again when it is resumed, verified or used for predictions, often in
        another process. So the texts are written once, completely or not at all, to a JSON Lines
        file whose name is a digest of its content. A file with the same content is not written
        again.

        Args:
          texts: the documents, in any iterable such as a list or a column of a DataFrame; or one.
          path: the `.jsonl` file to write; None is `runs/data/DIGEST.jsonl`.
          **settings: other attributes of the task.

        Raises:
          ValueError: a document is not a string, or `path` has other data.
          InsufficientResourcesError: the file could not be written.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     task = Text.from_texts(["one", "two"], path=Path(folder, "a.jsonl"), length=4)
        ...     task.path.read_text()
        '{"text": "one"}\\n{"text": "two"}\\n'
        """
        return cls(path=save_texts(texts, path), **({"field": "text"} | settings))

    def load(self, seed: int) -> TaskData:
        """Reads the text. `seed` draws the starts of windows, or the offsets of passes."""
        as_bytes = self.token == "byte"
        if self.path is None:
            text, notes = default_text(), ()
            content = text.encode() if as_bytes else text
        else:
            content, notes = read_documents(self.path, field=self.field, as_bytes=as_bytes)
        preparation = TextPreparation(
            vocabulary=_symbols(content),
            text_field=self.field,
            window=self.evaluation_length or self.length,
            batch_size=self.batch_size,
        )
        ids = preparation.encode(content)
        start, end = self._bounds(len(ids))
        sets = {"valid": (0, start), "test": (end, len(ids))}
        if self.valid == 0:
            sets = {"valid": sets["test"]}
        batch = self._stateful if self.stateful else self._shuffled
        raw = content if as_bytes else content.encode()
        vocabulary = preparation.vocabulary
        return TaskData(
            loss="categorical",
            metrics=("nll", "bits", "accuracy"),
            out_features=len(vocabulary),
            train_batch=functools.partial(batch, ids[start:end], seed),
            eval_sets={
                name: functools.partial(preparation.windows, ids, *part)
                for name, part in sets.items()
            },
            baselines=functools.partial(_baselines, ids[:end], ids[end:], len(vocabulary)),
            vocab_size=len(vocabulary),
            autoregressive=True,
            stateful=self.stateful,
            vocabulary=vocabulary,
            fingerprint=hashlib.sha256(raw).hexdigest(),
            preparation=dataclasses.replace(
                preparation,
                test=functools.partial(preparation.positioned_windows, ids, end, len(ids)),
            ),
            notes=notes,
        )

    def _bounds(self, size: int) -> tuple[int, int]:
        """The start and the end of the training part."""
        start, end = int(size * self.valid), int(size * (1 - self.test))
        streams = self.batch_size if self.stateful else 1
        # Each part has a symbol to predict; the first symbol of the text is not predicted.
        fewest = 2 if self.valid else 0
        if (end - start - 1) // streams < self.length or end == size or start < fewest:
            raise DataError(
                f"{self.path or 'the text'} must have >= {streams * self.length + 1} symbols to "
                f"train on and >= {fewest} and 1 to evaluate, got {end - start}, {start} and "
                f"{size - end} of {size}; lower length or batch_size, or use a longer text"
            )
        return start, end

    def _shuffled(self, ids: np.ndarray, seed: int, n: int) -> Batch:
        start = rng_for(RngStream.TRAIN, seed, n).integers(
            len(ids) - self.length, size=self.batch_size
        )
        return Batch(*_windows(ids, start, self.length))

    def _stateful(self, ids: np.ndarray, seed: int, n: int) -> Batch:
        windows = (len(ids) - 1) // self.batch_size // self.length
        epoch, window = divmod(n, windows)
        stream = windows * self.length
        unused = len(ids) - 1 - self.batch_size * stream
        offset = rng_for(RngStream.TRAIN, seed, epoch).integers(unused + 1)
        start = offset + np.arange(self.batch_size) * stream + window * self.length
        reset = np.zeros((self.batch_size, self.length), bool)
        reset[:, 0] = window == 0
        return Batch(*_windows(ids, start, self.length), reset=reset)


def _windows(ids: np.ndarray, start: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets, (starts, length) each, of the windows that begin at `start`."""
    windows = ids[start[:, None] + np.arange(length + 1)]
    return windows[:, :-1], windows[:, 1:]


def _baselines(train: np.ndarray, test: np.ndarray, vocab_size: int) -> dict[str, float]:
    (unigram,) = ngram.kneser_ney(train, test, vocab_size, (0,))
    return {
        "uniform": float(np.log(vocab_size)),
        "unigram": unigram.nll,
        "Kneser-Ney n-gram": ngram.best_ngram(train, test, vocab_size).nll,
    }


def default_text() -> str:
    """Returns the topics of Python's own reference, sorted by key and joined by two newlines."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[key] for key in sorted(topics))


def _symbols(content: str | bytes) -> tuple[str, ...]:
    """The vocabulary of a text: its sorted characters, or the names of its bytes."""
    symbols = sorted(set(content))
    return tuple(map(byte_name, symbols) if isinstance(content, bytes) else symbols)
