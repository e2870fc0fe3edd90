"""Task data from a function that generates examples."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from rnnlab.tasks.batch import Batch, loss_mask
from rnnlab.tasks.batching.padding import split_batches
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.fingerprint import settings_fingerprint

Sampler = Callable[[np.random.Generator, int], Batch]
"""Generates a batch of a given number of examples."""


def generated_data(
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
    """Returns the data of a task whose examples are generated.

    Training batch n is drawn from `rng_for(RngStream.TRAIN, seed, n)`. Each of the sets `"valid"`
    and `"test"` is drawn whole, with `task.evaluation_size` examples, so that it depends neither
    on the seed nor on the batch size.

    Args:
      task: a dataclass with `batch_size` and `evaluation_size`.
      seed: of the training batches.
      sample: generates training and validation examples.
      loss, metrics, out_features, vocab_size, in_features: as in `TaskData`.
      baselines: returns the baselines of the batches of the test set.
      test: generates the test set; None: `sample`.
    """

    def eval_set(number: int, draw: Sampler) -> Callable[[], list[Batch]]:
        @functools.cache
        def batches():
            dataset = draw(rng_for(RngStream.EVAL, number), task.evaluation_size)
            return list(split_batches(dataset, task.batch_size))

        return batches

    sets = {"valid": eval_set(0, sample), "test": eval_set(1, test or sample)}
    return TaskData(
        loss=loss,
        metrics=metrics,
        out_features=out_features,
        train_batch=lambda n: sample(rng_for(RngStream.TRAIN, seed, n), task.batch_size),
        eval_sets=sets,
        baselines=lambda: baselines(sets["test"]()),
        vocab_size=vocab_size,
        in_features=in_features,
        fingerprint=settings_fingerprint(task),
    )


def sample_without_replacement(
    rng: np.random.Generator, rows: int, count: int, bound: int
) -> np.ndarray:
    """Returns (rows, count) numbers below `bound`, distinct in each row, uniformly at random.

    Floyd's algorithm: pass j draws a number up to j, and takes j if that number was drawn before.

    >>> sorted(sample_without_replacement(np.random.default_rng(0), 1, 4, 4)[0].tolist())
    [0, 1, 2, 3]
    """
    drawn = np.full((rows, count), -1)
    for column, last in enumerate(range(bound - count, bound)):
        number = rng.integers(0, last + 1, rows)
        repeated = (drawn[:, :column] == number[:, None]).any(-1)
        drawn[:, column] = np.where(repeated, last, number)
    return rng.permuted(drawn, axis=-1)


def majority_accuracy(batches: Iterable[Batch]) -> float:
    """Returns the accuracy of always predicting the most common class of the scored targets.

    >>> batch = Batch(np.zeros((1, 4), np.int32), np.array([[2, 0, 2, 2]], np.int32))
    >>> majority_accuracy([batch])
    0.75
    """
    counts = np.bincount(np.concatenate([batch.targets[loss_mask(batch)] for batch in batches]))
    return float(counts.max() / counts.sum())
