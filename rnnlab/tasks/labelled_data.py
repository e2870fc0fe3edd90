"""Rows with targets as a task: parts, batches and floors."""

import functools
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

import numpy as np

from rnnlab.errors import DataError
from rnnlab.tasks.batch import IGNORE, Batch, scored
from rnnlab.tasks.batching.padding import cut, pad
from rnnlab.tasks.batching.strategies import Batching, training_batches
from rnnlab.tasks.data import FIXED, TaskData, generator
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.reference import classical


def labelled(sequences: Sequence[np.ndarray], labels: np.ndarray) -> Batch:
    """Sequences (time, in_features) as padded rows, the class of each at its last real step.

    >>> labelled([np.array([[0.5], [0.25]]), np.array([[1.0]])], np.array([3, 7])).targets.tolist()
    [[-1, 3], [7, -1]]
    """
    inputs, mask = pad([x.astype(np.float32) for x in sequences])
    targets = np.full(mask.shape, IGNORE, np.int32)
    np.put_along_axis(targets, mask.sum(axis=1)[:, None] - 1, labels[:, None], axis=1)
    return Batch(inputs, targets, mask)


def stratified(labels: np.ndarray, shares: Sequence[float]) -> list[np.ndarray]:
    """Rows of parts in which every class has its share, drawn once and for all.

    A class of too few rows for a share is not in that part; one that the shares would use up stays
    in the first.

    Args:
      labels: (rows,) classes.
      shares: of the parts but the first, which gets the rest.

    Returns:
      The rows of each part, in their own order.

    Raises:
      ValueError: a share is not in (0, 1), their sum is 1 or more, or a part gets no row.

    >>> [rows.tolist() for rows in stratified(np.array([0, 0, 0, 1, 1, 1]), [1 / 3])]
    [[1, 2, 4, 5], [0, 3]]
    """
    if not all(0 < share < 1 for share in shares) or sum(shares) >= 1:
        raise ValueError(f"shares is {list(shares)}; shares in (0, 1) of sum below 1 are needed")
    rng = generator(FIXED, len(labels))
    parts = [[] for _ in range(len(shares) + 1)]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        sizes = [round(share * len(rows)) for share in shares]
        if sum(sizes) >= len(rows):
            sizes = [0] * len(shares)
        cuts = np.cumsum([len(rows) - sum(sizes), *sizes])[:-1]
        for part, taken in zip(parts, np.split(rows, cuts), strict=True):
            part.append(taken)
    found = [np.sort(np.concatenate(part)) for part in parts]
    if not all(map(len, found)):
        raise DataError(
            f"of {len(labels)} rows, {len(np.unique(labels))} classes, shares of {list(shares)} "
            "leave a part empty; more rows of a class or larger shares are needed"
        )
    return found


def supervised(
    train: Batch,
    eval_sets: Mapping[str, Batch],
    *,
    out_features: int,
    batch_size: int,
    seed: int,
    vocab_size: int | None = None,
    batching: Batching = "pad",
    target_scale: float = 1.0,
    metrics: tuple[str, ...] = (),
) -> TaskData:
    """The task of telling each row's targets, from the row itself.

    Args:
      train: all training rows.
      eval_sets: rows by name of the set, which are padded to their set's longest.
      out_features: number of classes or values a step.
      batch_size: rows a batch.
      seed: orders the training batches.
      vocab_size: number of token ids; None where inputs are values.
      batching: how training rows share a batch: see `training_batches`.
      target_scale: size of 1 of the targets, where these are values.
      metrics: more of them, beside accuracy and NLL of classes, RMSE and MAE of values.

    Floors, on the last set, are the commonest training class or the mean training value; and where
    each row has one class, the last thing asked, and scikit-learn is installed, the classifiers of
    `rnnlab.tasks.reference.classical`.
    """
    classes = np.issubdtype(train.targets.dtype, np.integer)
    test = list(eval_sets.values())[-1]
    value_baselines = functools.partial(_value_baselines, target_scale=target_scale)
    return TaskData(
        loss="categorical" if classes else "squared",
        metrics=(("accuracy", "nll") if classes else ("rmse", "mae")) + metrics,
        out_features=out_features,
        train_batch=training_batches(train, batching, batch_size, seed),
        eval_sets={
            name: functools.partial(cut, part, min(batch_size, len(part.inputs)))
            for name, part in eval_sets.items()
        },
        baselines=functools.partial(_class_baselines if classes else value_baselines, train, test),
        vocab_size=vocab_size,
        in_features=None if vocab_size else train.inputs.shape[-1],
        target_scale=target_scale,
        fingerprint=fingerprint(
            *(x for part in (train, *eval_sets.values()) for x in part if x is not None)
        ),
    )


def _class_baselines(train: Batch, test: Batch) -> dict[str, float]:
    commonest = np.bincount(train.targets[scored(train)]).argmax()
    asked = test.targets[scored(test)]
    baselines = {"majority class": float(np.mean(asked == commonest))}
    sequences = train.inputs.ndim == 3 and all(map(one_label, (train, test)))
    if sequences and find_spec("sklearn"):
        baselines |= classical.accuracies(*_unpadded(train), *_unpadded(test))
    return baselines


def _value_baselines(train: Batch, test: Batch, target_scale: float) -> dict[str, dict[str, float]]:
    known = np.where(scored(train), train.targets, np.nan)
    mean = np.nanmean(known, axis=(0, 1), keepdims=True)
    errors = (test.targets - mean)[scored(test)] * target_scale
    return {
        "training mean": {
            "rmse": float(np.sqrt(np.mean(errors**2))),
            "mae": float(np.mean(np.abs(errors))),
        }
    }


def one_label(rows: Batch) -> bool:
    """Whether each row has one class and no other, at its last real step."""
    asked = scored(rows)
    if asked.ndim == 3:
        return False
    ends = rows.mask.sum(axis=1)[:, None] - 1
    return bool((asked.sum(axis=1) == 1).all() and np.take_along_axis(asked, ends, axis=1).all())


def _unpadded(rows: Batch) -> tuple[list[np.ndarray], np.ndarray]:
    """The sequences and labels that `labelled` pads."""
    sequences = [x[mask] for x, mask in zip(rows.inputs, rows.mask, strict=True)]
    return sequences, rows.targets[scored(rows)]
