"""Multi-query associative recall."""

import functools
from dataclasses import dataclass

import numpy as np

from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.generated_data import generated_data, sample_without_replacement
from rnnlab.validation import require_positive_int


@dataclass(frozen=True)
class MQAR:
    """Recall values by key: pairs of key and value, then each key again as a query for its value.

    Keys are ids 1 to `vocab_size // 2 - 1`, values the ids from `vocab_size // 2` on; in an example
    no key and no value occurs in two pairs. The pairs fill the first `2 * num_pairs` time steps.
    Every other time step after them is a place for a query: place k = 1, 2, ... is drawn with a
    weight of `k ** (gap_exponent - 1)`, without replacement, for one key after the other. The
    remaining time steps have ids drawn from the whole vocabulary, or id 0. Only queries are scored.

    Baselines: any value is right with probability 1 / (`vocab_size` - `vocab_size` // 2), any value
    of the example with probability 1 / `num_pairs`.

    Attributes:
      vocab_size: number of ids.
      length: time steps of an example, at least `4 * num_pairs`.
      num_pairs: number of pairs, and of queries.
      gap_exponent: below 1, queries tend to come soon after the pairs; with 1 all places are
        equally likely.
      noise: False fills the remaining time steps with id 0.
      batch_size: examples per batch.
      evaluation_size: examples in each evaluation set.

    Raises:
      ValueError: a size or `gap_exponent` is out of range.

    Source: arXiv 2312.04927 and its released generator.

    >>> task = MQAR(vocab_size=10, length=12, num_pairs=2, noise=False, batch_size=2)
    >>> batch = task.load(seed=0).train_batch(0)
    >>> print(batch.inputs)
    [[4 9 3 5 4 0 0 0 3 0 0 0]
     [2 5 4 9 0 0 2 0 0 0 4 0]]
    >>> print(batch.targets)
    [[-1 -1 -1 -1  9 -1 -1 -1  5 -1 -1 -1]
     [-1 -1 -1 -1 -1 -1  5 -1 -1 -1  9 -1]]
    """

    vocab_size: int = 8192
    length: int = 64
    num_pairs: int = 4
    gap_exponent: float = 0.01
    noise: bool = True
    batch_size: int = 64
    evaluation_size: int = 3000

    def __post_init__(self):
        require_positive_int(num_pairs=self.num_pairs, batch_size=self.batch_size)
        require_positive_int(evaluation_size=self.evaluation_size)
        if self.length < 4 * self.num_pairs:
            raise ValueError(
                f"length must be >= 4 * num_pairs, {4 * self.num_pairs}, got {self.length}; "
                "raise length"
            )
        if self.vocab_size < 2 * self.num_pairs + 2:
            raise ValueError(
                f"vocab_size must be >= 2 * num_pairs + 2, {2 * self.num_pairs + 2}, got "
                f"{self.vocab_size}; raise it"
            )
        if not self.gap_exponent > 0:
            raise ValueError(f"gap_exponent must be > 0, got {self.gap_exponent}; use 0.01 to 1")

    def load(self, seed: int) -> TaskData:
        return generated_data(
            self,
            seed,
            functools.partial(
                sample_mqar,
                vocab_size=self.vocab_size,
                length=self.length,
                num_pairs=self.num_pairs,
                gap_exponent=self.gap_exponent,
                noise=self.noise,
            ),
            loss="categorical",
            metrics=("accuracy", "nll"),
            out_features=self.vocab_size,
            vocab_size=self.vocab_size,
            baselines=lambda test: {
                "any value": 1 / (self.vocab_size - self.vocab_size // 2),
                "any value of the sequence": 1 / self.num_pairs,
            },
        )


def sample_mqar(
    rng: np.random.Generator,
    batch_size: int,
    *,
    vocab_size: int,
    length: int,
    num_pairs: int,
    gap_exponent: float,
    noise: bool,
) -> Batch:
    """Returns examples of `MQAR`: inputs (batch_size, length)."""
    first = vocab_size // 2
    keys = 1 + sample_without_replacement(rng, batch_size, num_pairs, first - 1)
    values = first + sample_without_replacement(rng, batch_size, num_pairs, vocab_size - first)
    places = 2 * num_pairs + 2 * _places(
        rng, batch_size, num_pairs, length // 2 - num_pairs, gap_exponent
    )
    shape = (batch_size, length)
    inputs = rng.integers(0, vocab_size, shape) if noise else np.zeros(shape, int)
    inputs[:, 0 : 2 * num_pairs : 2] = keys
    inputs[:, 1 : 2 * num_pairs : 2] = values
    np.put_along_axis(inputs, places, keys, -1)
    targets = np.full(shape, IGNORE_INDEX, np.int32)
    np.put_along_axis(targets, places, values.astype(np.int32), -1)
    return Batch(inputs.astype(np.int32), targets)


def _places(rng, rows, count, bound, gap_exponent):
    """Returns (rows, count) places below `bound`, drawn sequentially without replacement.

    Sorting log weights with Gumbel noise added is such a draw (arXiv 1903.06059).
    """
    weight = (gap_exponent - 1) * np.log(np.arange(1, bound + 1))
    return np.argsort(-(weight + rng.gumbel(size=(rows, bound))), axis=-1)[:, :count]
