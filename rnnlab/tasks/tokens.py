"""Language modelling of a token file, which may be larger than the memory."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from rnnlab.errors import DataError
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.batching.scattered import scattered
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.reference.bigram import bigram_baselines
from rnnlab.tasks.text_preparation import Positioned, TextPreparation
from rnnlab.tasks.token_files import TokenFile, open_token_file
from rnnlab.tasks.token_files.windows import evaluation_windows, read_windows
from rnnlab.tasks.tokenizer_preparation import TokenizerPreparation
from rnnlab.validation import require_one_of, require_positive_int

Order = Literal["random", "epoch", "stateful"]

BASELINE_TOKENS, BASELINE_LENGTH = 1 << 20, 1024
"""Tokens that the baselines count, and time steps of the windows that they are in."""


@dataclass(frozen=True)
class Tokens:
    """Predict each token of a token file from the tokens before it.

    `rnnlab data tokens FILES --out corpus.tokens` prepares the file from texts. A batch reads only
    its own windows of it, so that the memory does not grow with the file.

    The file is split into a validation part (its beginning), a training part and a test part (its
    end), as the text of `rnnlab.tasks.Text` is. For a file of the same characters, `"random"` and
    `"stateful"` return the same batches as `Text`.

    - `"random"`: windows at random starts of the training part.
    - `"epoch"`: consecutive windows in random order, each exactly once per epoch. The order is a
      permutation that is computed for each window, see
      `rnnlab.tasks.batching.scattered.scattered`. Each epoch starts at another offset.
    - `"stateful"`: `batch_size` consecutive streams, window by window, of which each continues the
      one before. `reset` is True at the first time step of each pass.

    Where the file has several documents, `reset` is also True at the first token of each, which is
    not scored.

    Baselines are the uniform distribution, the unigram and a bigram. They are counted on evenly
    spaced windows of the file before the test part, 1,048,576 tokens at most.

    Attributes:
      path: the token file.
      length: time steps of a training window.
      batch_size: examples per batch.
      order: which windows a batch has.
      valid: fraction of the tokens, at the beginning, that selects the best step.
      test: fraction of the tokens, at the end, that is reported.
      evaluation_length: time steps of an evaluation window; None is `length`.
      evaluation_tokens: largest number of tokens to score in an evaluation set; of a larger part
        evenly spaced windows are scored. None: all tokens.

    Raises:
      ValueError: a setting is out of range; DataError if the file is not valid or too short.

    >>> import tempfile
    >>> from rnnlab.tasks.token_files import prepare_token_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = Path(folder, "a.txt")
    ...     _ = text.write_text("abcd" * 100)
    ...     file = prepare_token_file([text], Path(folder, "a.tokens"))
    ...     data = Tokens(file.path, length=8, batch_size=2, order="epoch").load(seed=0)
    ...     data.train_batch(0).inputs.shape, data.vocabulary
    ((2, 8), ('a', 'b', 'c', 'd'))
    """

    path: Path | None = None
    length: int = 128
    batch_size: int = 32
    order: Order = "random"
    valid: float = 0.05
    test: float = 0.1
    evaluation_length: int | None = None
    evaluation_tokens: int | None = 1_000_000

    def __post_init__(self):
        require_positive_int(length=self.length, batch_size=self.batch_size)
        for name in ("evaluation_length", "evaluation_tokens"):
            if getattr(self, name) is not None:
                require_positive_int(**{name: getattr(self, name)})
        require_one_of("order", self.order, get_args(Order))
        for name in ("valid", "test"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be a fraction in (0, 1), got {getattr(self, name)}; use 0.05"
                )
        if self.valid + self.test >= 1:
            raise ValueError(
                f"valid + test must be < 1, got {self.valid} + {self.test}; lower one of them"
            )

    def load(self, seed: int) -> TaskData:
        """Reads the header of the file. `seed` draws windows, or the offsets of passes."""
        if self.path is None:
            raise DataError(
                "path must be a token file, got none; prepare one by `rnnlab data tokens FILES "
                "--out corpus.tokens` and set --data.path corpus.tokens"
            )
        file = open_token_file(self.path)
        header = file.header
        start, end = self._bounds(header.count)
        parts = {"valid": (0, start), "test": (end, header.count)}
        window = self.evaluation_length or self.length

        def windows(name: str) -> Iterator[Positioned]:
            part = parts[name]
            return evaluation_windows(file, *part, window, self.batch_size, self.evaluation_tokens)

        def batches(name: str) -> Iterator[Batch]:
            return (batch for batch, _ in windows(name))

        def baselines() -> dict[str, float]:
            before = evaluation_windows(file, 0, end, BASELINE_LENGTH, 64, BASELINE_TOKENS)
            return bigram_baselines((x for x, _ in before), batches("test"), header.vocab_size)

        rows = functools.partial(self._rows, file, start, end, seed)
        fixed = {"window": window, "batch_size": self.batch_size}
        test = functools.partial(windows, "test")
        if header.by == "tokenizer":
            preparation = TokenizerPreparation((), **fixed, test=test, tokenizer=header.tokenizer)
        else:
            preparation = TextPreparation(header.vocabulary, **fixed, test=test)
        return TaskData(
            loss="categorical",
            metrics=("nll", "bits", "accuracy"),
            out_features=header.vocab_size,
            train_batch=functools.partial(rows, rows=slice(None)),
            rows=rows,
            eval_sets={name: functools.partial(batches, name) for name in parts},
            baselines=baselines,
            vocab_size=header.vocab_size,
            autoregressive=True,
            stateful=self.order == "stateful",
            vocabulary=header.vocabulary,
            fingerprint=file.digest,
            preparation=preparation,
            notes=(f"{self.path.name}: {header.summary}; {end - start:,} to train on.",),
        )

    def _bounds(self, size: int) -> tuple[int, int]:
        """The start and the end of the training part."""
        start, end = int(size * self.valid), int(size * (1 - self.test))
        streams = self.batch_size if self.order == "stateful" else 1
        # Each part has a token to predict; the first token of the file is not predicted.
        if (end - start - 1) // streams < self.length or end == size or start < 2:
            raise DataError(
                f"{self.path} must have >= {streams * self.length + 1} tokens to train on and >= 2 "
                f"and 1 to evaluate, got {end - start}, {start} and {size - end} of {size}; lower "
                "length or batch_size, or prepare a longer text"
            )
        return start, end

    def _rows(self, file: TokenFile, start: int, end: int, seed: int, n: int, rows: slice) -> Batch:
        """The windows in a slice of batch n."""
        size, every = end - start, np.arange(self.batch_size, dtype=np.int64)
        if self.order == "random":
            rng = rng_for(RngStream.TRAIN, seed, n)
            first = rng.integers(size - self.length, size=self.batch_size)[rows]
            return read_windows(file, start + first, self.length)
        if self.order == "epoch":
            return read_windows(
                file, start + self._epoch_starts(size, seed, n, every[rows]), self.length
            )
        windows = (size - 1) // self.batch_size // self.length
        epoch, window = divmod(n, windows)
        stream = windows * self.length
        offset = _offset(seed, epoch, size - 1 - self.batch_size * stream)
        first = offset + every[rows] * stream + window * self.length
        batch = read_windows(file, start + first, self.length)
        reset = np.zeros(batch.inputs.shape, bool) if batch.reset is None else batch.reset
        reset[:, 0] |= window == 0
        return batch._replace(reset=reset)

    def _epoch_starts(self, size: int, seed: int, n: int, every: np.ndarray) -> np.ndarray:
        windows = (size - 1) // self.length
        # Python's integers: n * batch_size has no limit.
        first_epoch, first = divmod(n * self.batch_size, windows)
        later, index = np.divmod(first + every, windows)
        starts = np.zeros(len(every), np.int64)
        for k in np.unique(later):
            epoch, chosen = first_epoch + int(k), later == k
            number = scattered(index[chosen], windows, seed, epoch)
            offset = _offset(seed, epoch, (size - 1) % self.length)
            starts[chosen] = offset + number * self.length
        return starts


@functools.lru_cache(maxsize=64)
def _offset(seed: int, epoch: int, unused: int) -> int:
    """The first time step of an epoch's windows, so that epochs have different windows."""
    return int(rng_for(RngStream.TRAIN, seed, epoch).integers(unused + 1))
