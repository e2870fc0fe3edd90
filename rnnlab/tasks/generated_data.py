"""What the generated tasks share: from a sampler to an opened task."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from rnnlab.tasks.batch import Batch, scored
from rnnlab.tasks.batching.padding import cut
from rnnlab.tasks.data import HELDOUT, TRAIN, TaskData, generator
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.stored_settings import stored_repr

Sampler = Callable[[np.random.Generator, int], Batch]
"""Draws a batch of a number of sequences."""


def generated(
    task: Any,
    seed: int,
    sample: Sampler,
    *,
    loss: str,
    metrics: tuple[str, ...],
    out_features: int,
    baselines: Callable[[list[Batch]], Mapping[str, float]],
    vocab_size: int | None = None,
    in_features: int | None = None,
    test: Sampler | None = None,
) -> TaskData:
    """The data of a task whose sequences are drawn anew, never read.

    Training batch n is drawn by `generator(TRAIN, seed, n)`, `"valid"` and `"test"` as wholes of
    `task.evaluation_size` sequences, so that neither depends on the seed or the batch size.

    Args:
      task: a dataclass with `batch_size` and `evaluation_size`.
      seed: of the training batches.
      sample: draws sequences for training and validation.
      loss, metrics, out_features, vocab_size, in_features: as in `TaskData`.
      baselines: of the batches of the test set.
      test: draws the test set where it differs; None: `sample`.
    """

    def eval_set(number: int, draw: Sampler) -> Callable[[], list[Batch]]:
        @functools.cache
        def batches():
            whole = draw(generator(HELDOUT, number), task.evaluation_size)
            return list(cut(whole, task.batch_size))

        return batches

    sets = {"valid": eval_set(0, sample), "test": eval_set(1, test or sample)}
    return TaskData(
        loss=loss,
        metrics=metrics,
        out_features=out_features,
        train_batch=lambda n: sample(generator(TRAIN, seed, n), task.batch_size),
        eval_sets=sets,
        baselines=lambda: baselines(sets["test"]()),
        vocab_size=vocab_size,
        in_features=in_features,
        fingerprint=fingerprint(stored_repr(task)),
    )


def distinct(rng: np.random.Generator, rows: int, count: int, bound: int) -> np.ndarray:
    """(rows, count) numbers below `bound`, none twice in a row, every arrangement as likely.

    Floyd's algorithm: pass j takes a number up to j, or j where that one is taken already.

    >>> sorted(distinct(np.random.default_rng(0), 1, 4, 4)[0].tolist())
    [0, 1, 2, 3]
    """
    taken = np.full((rows, count), -1)
    for place, last in enumerate(range(bound - count, bound)):
        number = rng.integers(0, last + 1, rows)
        again = (taken[:, :place] == number[:, None]).any(-1)
        taken[:, place] = np.where(again, last, number)
    return rng.permuted(taken, axis=-1)


def majority_share(batches: Iterable[Batch]) -> float:
    """Share of the commonest class among the scored targets: the accuracy of always naming it.

    >>> batch = Batch(np.zeros((1, 4), np.int32), np.array([[2, 0, 2, 2]], np.int32))
    >>> majority_share([batch])
    0.75
    """
    counts = np.bincount(np.concatenate([batch.targets[scored(batch)] for batch in batches]))
    return float(counts.max() / counts.sum())
