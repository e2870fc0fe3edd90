"""ListOps: evaluate nested lists of operators and digits."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.tasks.batching.padding import split_batches
from rnnlab.tasks.batching.sampler import EpochSampler
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.fingerprint import settings_fingerprint
from rnnlab.tasks.generated_data import majority_accuracy
from rnnlab.validation import require_positive_int

SYMBOLS = (*"0123456789", "[MIN", "[MAX", "[MED", "[SM", "]")
"""The symbol of each token id."""

_END = SYMBOLS.index("]")


def _median(values):
    values = sorted(values)
    return (values[(len(values) - 1) // 2] + values[len(values) // 2]) // 2


_OPERATORS = (min, max, _median, lambda values: sum(values) % 10)


@dataclass(frozen=True)
class ListOps:
    """Compute the value, 0 to 9, of a nested list such as `[MAX 2 9 [MIN 4 7 ] 0 ]`.

    `MIN`, `MAX`, `MED` (median, rounded down) and `SM` (sum modulo 10) take 2 to `max_args`
    arguments. An argument is an operator with probability 1/4 if its depth, 1 at the root, is less
    than `max_depth`, else a uniform digit. Trees whose number of tokens is not strictly between
    `min_length` and `max_length` are drawn again. An operator with its opening bracket is one
    token, the closing bracket another. The parentheses that the published generator writes around
    each argument add no information and are omitted. The target is the value, at the last token.

    The training set is finite: example i is drawn from `rng_for(RngStream.FIXED, i)` when it is
    used, and the seed orders the examples.

    Attributes:
      min_length, max_length: exclusive bounds of the number of tokens.
      max_depth: depth from which all arguments are digits, at least 2.
      max_args: greatest number of arguments of an operator, at least 2.
      train_size: examples in the training set.
      batch_size: examples per batch.
      evaluation_size: examples in each evaluation set.
      pad_to_multiple: a batch is padded to its longest example, rounded up to a multiple of this;
        None: every batch is padded to `max_length`, so that one compiled program serves all.

    Raises:
      ValueError: a size is out of range; when examples are drawn, no tree fits the lengths.

    Source: arXiv 2011.04006, section 2.2.1, and its released generator; arXiv 1804.06028.

    >>> task = ListOps(min_length=5, max_length=12, max_depth=3, max_args=3, batch_size=1)
    >>> batch = task.load(seed=0).train_batch(0)
    >>> print(" ".join(SYMBOLS[token] for token in batch.inputs[batch.mask]))
    [SM 6 [SM 6 7 ] ]
    >>> print(batch.targets)
    [[-1 -1 -1 -1 -1 -1  9 -1 -1 -1 -1 -1]]
    """

    min_length: int = 500
    max_length: int = 2000
    max_depth: int = 10
    max_args: int = 10
    train_size: int = 96_000
    batch_size: int = 32
    evaluation_size: int = 2000
    pad_to_multiple: int | None = None

    def __post_init__(self):
        require_positive_int(train_size=self.train_size, batch_size=self.batch_size)
        require_positive_int(
            evaluation_size=self.evaluation_size, pad_to_multiple=self.pad_to_multiple or 1
        )
        for name in ("max_depth", "max_args"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be >= 2, got {getattr(self, name)}; raise it")
        if not 0 <= self.min_length < self.max_length - 1:
            raise ValueError(
                f"min_length must be >= 0 and < max_length - 1, got {self.min_length} and "
                f"{self.max_length}; raise max_length"
            )

    def load(self, seed: int) -> TaskData:
        sampler = EpochSampler(self.train_size, self.batch_size, seed)

        def examples(streams: Iterable[tuple[int, ...]]) -> Batch:
            return pad_trees([sample_tree(rng_for(*stream), self) for stream in streams], self)

        def eval_set(number):
            @functools.cache
            def batches():
                dataset = examples((RngStream.EVAL, number, i) for i in range(self.evaluation_size))
                return list(split_batches(dataset, self.batch_size))

            return batches

        test = eval_set(1)
        return TaskData(
            loss="categorical",
            metrics=("accuracy", "nll"),
            out_features=10,
            train_batch=lambda n: examples((RngStream.FIXED, int(i)) for i in sampler.indices(n)),
            eval_sets={"valid": eval_set(0), "test": test},
            baselines=lambda: {"majority class": majority_accuracy(test())},
            vocab_size=len(SYMBOLS),
            fingerprint=settings_fingerprint(self),
        )


def sample_tree(rng: np.random.Generator, task: ListOps) -> tuple[list[int], int]:
    """Returns the token ids and the value of one example of `task`."""
    for _ in range(20_000):
        levels = _levels(rng, task)
        if levels is not None:
            return _read([iter(level.tolist()) for level in levels])
    raise ValueError(
        f"min_length and max_length must leave trees of max_depth {task.max_depth} and max_args "
        f"{task.max_args} between them, got {task.min_length} and {task.max_length}, which none of "
        "20000 trees fits; move them apart"
    )


def _levels(rng, task):
    """Returns the nodes of a tree by depth, left to right; None if its length does not fit.

    A node is its digit, or 10 + 4 * (number of arguments - 2) + number of the operator. Drawing
    level by level rejects trees that are too long early.
    """
    levels, nodes, length = [], 1, 0
    while nodes:
        level = rng.integers(0, 10, nodes)
        if len(levels) + 1 < task.max_depth:
            operator = rng.random(nodes) < 0.25
            level = np.where(operator, rng.integers(10, 4 * task.max_args + 6, nodes), level)
        levels.append(level)
        code = level[level >= 10]
        length += nodes + len(code)
        nodes = int(((code - 10) // 4 + 2).sum())
        if length + nodes >= task.max_length:
            return None
    return levels if length > task.min_length else None


def _read(levels):
    """Returns tokens and value of a tree, depth first; `levels` are iterators over their nodes."""
    tokens = []

    def value(depth):
        node = next(levels[depth])
        if node < 10:
            tokens.append(node)
            return node
        arguments, operator = divmod(node - 10, 4)
        tokens.append(10 + operator)
        values = [value(depth + 1) for _ in range(arguments + 2)]
        tokens.append(_END)
        return _OPERATORS[operator](values)

    answer = value(0)
    return tokens, answer


def pad_trees(trees: list[tuple[list[int], int]], task: ListOps) -> Batch:
    """Returns token ids and values as a batch, padded according to `task.pad_to_multiple`."""
    length = np.array([len(tokens) for tokens, _ in trees])
    steps = task.max_length
    if task.pad_to_multiple is not None:
        steps = -(-length.max() // task.pad_to_multiple) * task.pad_to_multiple
    mask = np.arange(steps) < length[:, None]
    inputs = np.zeros(mask.shape, np.int32)
    inputs[mask] = np.concatenate([tokens for tokens, _ in trees])
    targets = np.full(mask.shape, IGNORE_INDEX, np.int32)
    targets[np.arange(len(trees)), length - 1] = [value for _, value in trees]
    return Batch(inputs, targets, mask)
