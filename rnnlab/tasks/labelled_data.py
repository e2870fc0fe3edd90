"""Task data from labelled examples: parts, batches and baselines."""

import functools
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

import numpy as np

from rnnlab.tasks import imbalance
from rnnlab.tasks.augment import Augmentation, augmented
from rnnlab.tasks.batch import IGNORE_INDEX, Batch, arrays, loss_mask
from rnnlab.tasks.batching.balanced import balanced_batches
from rnnlab.tasks.batching.padding import pad, split_batches
from rnnlab.tasks.batching.strategies import Batching, training_batches
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.reference import classical
from rnnlab.tasks.reference.naive import rmse_mae


def pad_labelled(sequences: Sequence[np.ndarray], labels: np.ndarray) -> Batch:
    """Returns sequences (time, in_features), padded, with the class of each at its last time step.

    >>> sequences = [np.array([[0.5], [0.25]]), np.array([[1.0]])]
    >>> pad_labelled(sequences, np.array([3, 7])).targets.tolist()
    [[-1, 3], [7, -1]]
    """
    inputs, mask = pad([x.astype(np.float32) for x in sequences])
    targets = np.full(mask.shape, IGNORE_INDEX, np.int32)
    np.put_along_axis(targets, mask.sum(axis=1)[:, None] - 1, labels[:, None], axis=1)
    return Batch(inputs, targets, mask)


def labelled_data(
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
    class_weights: float = 0.0,
    focusing: float = 0.0,
    balance: float = 0.0,
    augmentation: Augmentation | None = None,
) -> TaskData:
    """Returns the data of a task that predicts the targets of each example.

    Baselines, on the last set, are the most common class or the mean value of the training part.
    If each example has one class, at its last time step, and scikit-learn is installed, they
    include the classifiers of `rnnlab.tasks.reference.classical`: naive Bayes for tokens, the
    others for values.

    Args:
      train: all training examples.
      eval_sets: examples by name of the set, padded to the longest of their set.
      out_features: number of classes, or of values per time step.
      batch_size: examples per batch.
      seed: orders the training batches.
      vocab_size: number of token ids; None where inputs are values.
      batching: how training examples share a batch, see `training_batches`.
      target_scale: what 1 in the targets is in the data's own units, for values.
      metrics: added to accuracy and NLL (classes) or RMSE and MAE (values).
      class_weights: power of the inverse frequency of classes, see `rnnlab.tasks.imbalance`.
      focusing: exponent of the focal loss, for classes.
      balance: share of the examples of a batch that are drawn by class, see `BalancedSampler`.
      augmentation: changes of the training batches.

    Raises:
      ValueError: a setting for classes is used with values, or does not fit the batching.
    """
    classes = np.issubdtype(train.targets.dtype, np.integer)
    if not classes and (class_weights or focusing or balance):
        raise ValueError(
            "class_weights, focusing and balance must be 0 where targets are values, got "
            f"{class_weights}, {focusing} and {balance}; remove them"
        )
    loss_options = {}
    if class_weights or focusing:
        scored = train.targets[loss_mask(train)]
        weights = imbalance.class_weights(scored, out_features, class_weights)
        loss_options = {"class_weights": weights, "focusing": focusing}
    if balance:
        take = balanced_batches(train, out_features, batching, batch_size, seed, balance)
    else:
        take = training_batches(train, batching, batch_size, seed)
    test = list(eval_sets.values())[-1]
    value_baselines = functools.partial(_value_baselines, target_scale=target_scale)
    return TaskData(
        loss="categorical" if classes else "squared",
        metrics=(("accuracy", "nll") if classes else ("rmse", "mae")) + metrics,
        out_features=out_features,
        train_batch=augmented(take, augmentation or Augmentation(), seed),
        eval_sets={
            name: functools.partial(split_batches, part, min(batch_size, len(part.inputs)))
            for name, part in eval_sets.items()
        },
        baselines=functools.partial(_class_baselines if classes else value_baselines, train, test),
        vocab_size=vocab_size,
        in_features=None if vocab_size else train.inputs.shape[-1],
        target_scale=target_scale,
        loss_options=loss_options,
        fingerprint=fingerprint(
            *(x for part in (train, *eval_sets.values()) for x in arrays(part))
        ),
    )


def _class_baselines(train: Batch, test: Batch) -> dict[str, float]:
    majority = np.bincount(train.targets[loss_mask(train)]).argmax()
    targets = test.targets[loss_mask(test)]
    baselines = {"majority class": float(np.mean(targets == majority))}
    are_sequences = train.inputs.ndim == 3 and all(map(one_target, (train, test)))
    if are_sequences and find_spec("sklearn"):
        baselines |= classical.accuracies(*_unpadded(train), *_unpadded(test))
    are_tokens = train.inputs.ndim == 2 and all(map(one_target, (train, test)))
    if are_tokens and find_spec("sklearn"):
        accuracy = classical.naive_bayes_accuracy(*_unpadded(train), *_unpadded(test))
        baselines["naive Bayes on n-grams"] = accuracy
    return baselines


def _value_baselines(train: Batch, test: Batch, target_scale: float) -> dict[str, dict[str, float]]:
    known = np.where(loss_mask(train), train.targets, np.nan)
    mean = np.nanmean(known, axis=(0, 1), keepdims=True)
    actual = np.where(loss_mask(test), test.targets, np.nan)
    errors = rmse_mae(np.broadcast_to(mean, actual.shape), actual)
    return {"training mean": {name: error * target_scale for name, error in errors.items()}}


def one_target(dataset: Batch) -> bool:
    """Returns whether examples have one target each, at the last time step.

    Every example must have a class; values may be missing.
    """
    known, at_end = _known(dataset)
    is_complete = at_end.all() if dataset.targets.ndim == 2 else at_end.any()
    return bool(is_complete and (known == at_end).all())


def only_at_end(dataset: Batch) -> bool:
    """Returns whether no time step except the last one of each example has a target."""
    known, at_end = _known(dataset)
    return bool((known == at_end).all())


def _known(dataset: Batch) -> tuple[np.ndarray, np.ndarray]:
    """The number of time steps with a target of each example, and whether the last has one."""
    known = loss_mask(dataset)
    known = known if known.ndim == 2 else known.any(axis=-1)
    ends = dataset.mask.sum(axis=1)[:, None] - 1
    return known.sum(axis=1), np.take_along_axis(known, ends, axis=1)[:, 0]


def _unpadded(dataset: Batch) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns the sequences and labels that `pad_labelled` padded."""
    sequences = [x[mask] for x, mask in zip(dataset.inputs, dataset.mask, strict=True)]
    return sequences, dataset.targets[loss_mask(dataset)]
