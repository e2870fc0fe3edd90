"""Copying tasks: symbols selected from blanks, or remembered over a delay."""

import functools
import math
from dataclasses import dataclass

import numpy as np

from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.generated_data import generated_data, sample_without_replacement
from rnnlab.validation import require_positive_int


@dataclass(frozen=True)
class SelectiveCopying:
    """Copy, in order, the data tokens that are at random positions among blanks.

    Id 0 is the blank, ids 1 to `vocab_size - 2` are data, `vocab_size - 1` is the marker. An
    example has `length` time steps with `tokens` data tokens among blanks, then `tokens` markers,
    whose targets are the data. Only the markers are scored. A guess is right with probability
    1 / (`vocab_size` - 2), the baseline `"uniform"`.

    Attributes:
      length: time steps before the markers.
      tokens: number of data tokens.
      vocab_size: number of ids, at least 3.
      batch_size: examples per batch.
      evaluation_size: examples in each evaluation set.

    Raises:
      ValueError: a size is out of range.

    Source: arXiv 2312.00752, section 4.1.1; the sizes are those of arXiv 2410.01201, whose release
    exchanges the ids of marker and blank.

    >>> task = SelectiveCopying(length=6, tokens=2, batch_size=2)
    >>> batch = task.load(seed=0).train_batch(0)
    >>> print(batch.inputs)
    [[12  9  0  0  0  0 15 15]
     [ 8  0  0  0  0  4 15 15]]
    >>> print(batch.targets)
    [[-1 -1 -1 -1 -1 -1 12  9]
     [-1 -1 -1 -1 -1 -1  8  4]]
    """

    length: int = 4096
    tokens: int = 16
    vocab_size: int = 16
    batch_size: int = 64
    evaluation_size: int = 1024

    def __post_init__(self):
        require_positive_int(tokens=self.tokens, batch_size=self.batch_size)
        require_positive_int(evaluation_size=self.evaluation_size)
        if self.length < self.tokens:
            raise ValueError(
                f"length must be >= tokens, {self.tokens}, got {self.length}; raise length"
            )
        if self.vocab_size < 3:
            raise ValueError(f"vocab_size must be >= 3, got {self.vocab_size}; raise it")

    def load(self, seed: int) -> TaskData:
        return generated_data(
            self,
            seed,
            functools.partial(
                sample_selective_copying,
                length=self.length,
                tokens=self.tokens,
                vocab_size=self.vocab_size,
            ),
            loss="categorical",
            metrics=("accuracy", "nll"),
            out_features=self.vocab_size,
            vocab_size=self.vocab_size,
            baselines=lambda test: {"uniform": 1 / (self.vocab_size - 2)},
        )


def sample_selective_copying(
    rng: np.random.Generator, batch_size: int, *, length: int, tokens: int, vocab_size: int
) -> Batch:
    """Returns examples of `SelectiveCopying`: inputs (batch_size, length + tokens)."""
    data = rng.integers(1, vocab_size - 1, (batch_size, tokens), dtype=np.int32)
    positions = np.sort(sample_without_replacement(rng, batch_size, tokens, length), -1)
    inputs = np.zeros((batch_size, length + tokens), np.int32)
    np.put_along_axis(inputs, positions, data, -1)
    inputs[:, length:] = vocab_size - 1
    targets = np.full_like(inputs, IGNORE_INDEX)
    targets[:, length:] = data
    return Batch(inputs, targets)


@dataclass(frozen=True)
class CopyMemory:
    """Repeat the first `tokens` symbols after a delay of `delay` time steps.

    Id 0 is the blank, ids 1 to `symbols` are the symbols, `symbols + 1` is the marker. An example
    is the symbols, `delay - 1` blanks and `tokens + 1` markers. The targets are blanks and, at the
    last `tokens` time steps, the symbols in order; every time step is scored. The baseline
    `"memoryless"` is the best predictor without memory, with
    `tokens * ln(symbols) / (delay + 2 * tokens)` nats per time step.

    Attributes:
      delay: T, the number of time steps between the last symbol and the first answer.
      tokens: number of symbols to remember.
      symbols: number of different symbols.
      batch_size: examples per batch.
      evaluation_size: examples in each evaluation set.

    Raises:
      ValueError: a size is out of range.

    Source: arXiv 1511.06464, in the form of arXiv 1803.01271, section 4, where the marker is
    repeated during the answers.

    >>> task = CopyMemory(delay=4, tokens=2, batch_size=1)
    >>> batch = task.load(seed=0).train_batch(0)
    >>> print(batch.inputs)
    [[7 6 0 0 0 9 9 9]]
    >>> print(batch.targets)
    [[0 0 0 0 0 0 7 6]]
    >>> round(CopyMemory(delay=1000).load(seed=0).baselines()["memoryless"], 5)
    0.02039
    """

    delay: int = 1000
    tokens: int = 10
    symbols: int = 8
    batch_size: int = 32
    evaluation_size: int = 1024

    def __post_init__(self):
        require_positive_int(delay=self.delay, tokens=self.tokens, symbols=self.symbols)
        require_positive_int(batch_size=self.batch_size, evaluation_size=self.evaluation_size)

    def load(self, seed: int) -> TaskData:
        memoryless = self.tokens * math.log(self.symbols) / (self.delay + 2 * self.tokens)
        return generated_data(
            self,
            seed,
            functools.partial(
                sample_copy_memory, delay=self.delay, tokens=self.tokens, symbols=self.symbols
            ),
            loss="categorical",
            metrics=("nll", "accuracy"),
            out_features=self.symbols + 1,
            vocab_size=self.symbols + 2,
            baselines=lambda test: {"memoryless": memoryless},
        )


def sample_copy_memory(
    rng: np.random.Generator, batch_size: int, *, delay: int, tokens: int, symbols: int
) -> Batch:
    """Returns examples of `CopyMemory`: inputs (batch_size, delay + 2 * tokens)."""
    data = rng.integers(1, symbols + 1, (batch_size, tokens), dtype=np.int32)
    inputs = np.zeros((batch_size, delay + 2 * tokens), np.int32)
    inputs[:, :tokens] = data
    inputs[:, -tokens - 1 :] = symbols + 1
    targets = np.zeros_like(inputs)
    targets[:, -tokens:] = data
    return Batch(inputs, targets)
