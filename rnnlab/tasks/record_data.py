"""Task data from irregular records: batches, metrics and baselines."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np

from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.tasks.batching.padding import pad_batch
from rnnlab.tasks.batching.sampler import EpochSampler
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.record_features import RecordFeatures
from rnnlab.tasks.record_parts import RecordPart
from rnnlab.tasks.reference import risk

RISK_METRICS = ("roc_auc", "average_precision", "sensitivity_precision", "brier")
"""Metrics of two classes, of which the second is the positive one."""


@dataclass(frozen=True)
class RecordBatches:
    """Batches of a part, whose inputs are computed when a batch is taken: they are many.

    Attributes:
      part: the records.
      features: what the training part fixes about the inputs.
      max_steps: the last time steps of a record that are kept.
      length: time steps of a batch.
    """

    part: RecordPart
    features: RecordFeatures
    max_steps: int
    constants: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "constants", self.features.constants(self.part.descriptors))

    @property
    def length(self) -> int:
        """The time steps of every batch."""
        return min(int(self.part.steps.lengths.max()), self.max_steps)

    def take(self, records: np.ndarray) -> Batch:
        """Returns records as a batch, with the class of each at its last time step."""
        inputs, mask, gaps = self.features.encode(
            self.part.steps, self.constants, records, self.max_steps
        )
        missing = self.length - mask.shape[1]
        inputs = np.pad(inputs, ((0, 0), (0, missing), (0, 0)))
        mask, gaps = (np.pad(x, ((0, 0), (0, missing))) for x in (mask, gaps))
        targets = np.full(mask.shape, IGNORE_INDEX, np.int32)
        ends = mask.sum(axis=1) - 1
        targets[np.arange(len(ends)), ends] = self.part.targets[records]
        return Batch(inputs, targets, mask, gaps=gaps)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields all records in order; the last batch is padded."""
        count = len(self.part.ids)
        for start in range(0, count, batch_size):
            batch = self.take(np.arange(start, min(start + batch_size, count)))
            yield pad_batch(batch, batch_size)


def record_data(
    train: RecordPart,
    eval_sets: Mapping[str, RecordPart],
    features: RecordFeatures,
    *,
    classes: tuple[str, ...],
    batch_size: int,
    max_steps: int,
    seed: int,
) -> TaskData:
    """Returns the data of a task that predicts the class of each record at its last time step.

    Args:
      train: the training part.
      eval_sets: parts by name; the first selects the best step, the last is reported.
      features: of the training part.
      classes: names of the classes. Of two, the second is the positive one of the metrics.
      batch_size: records per batch.
      max_steps: the last time steps of a record that are kept.
      seed: orders the training batches.
    """
    training = RecordBatches(train, features, max_steps)
    batch_size = min(batch_size, len(train.ids))
    sampler = EpochSampler(len(train.ids), batch_size, seed)
    *_, test = eval_sets.values()
    digest = fingerprint(
        f"last {max_steps} time steps",
        *(
            x
            for part in (train, *eval_sets.values())
            for x in (*part.steps, part.descriptors, part.targets)
        ),
    )
    is_binary = len(classes) == 2 and find_spec("sklearn") is not None
    return TaskData(
        loss="categorical",
        metrics=RISK_METRICS if is_binary else ("accuracy", "nll"),
        out_features=len(classes),
        train_batch=lambda n: training.take(sampler.indices(n)),
        eval_sets={
            name: functools.partial(
                RecordBatches(part, features, max_steps).batches, min(batch_size, len(part.ids))
            )
            for name, part in eval_sets.items()
        },
        baselines=functools.partial(
            _baselines, _Compared(digest, train, test, len(classes), is_binary)
        ),
        in_features=features.in_features,
        num_variables=len(features.values.mean),
        classes=classes,
        example_ids=test.ids,
        fingerprint=digest,
    )


@dataclass(frozen=True)
class _Compared:
    """The parts that baselines are computed from. Equal if their fingerprints are."""

    fingerprint: str
    train: RecordPart = field(compare=False)
    test: RecordPart = field(compare=False)
    num_classes: int = field(compare=False)
    is_binary: bool = field(compare=False)


@functools.lru_cache(maxsize=2)  # the runs of a grid have the same baselines
def _baselines(compared: _Compared) -> dict[str, float | dict[str, float]]:
    train, test = compared.train, compared.test
    if not compared.is_binary:
        majority = np.bincount(train.targets, minlength=compared.num_classes).argmax()
        return {"majority class": float(np.mean(test.targets == majority))}
    actual = test.targets == 1
    found = {}
    share = np.full(len(actual), np.mean(train.targets))
    found["share of training"] = risk.risk_scores(share, actual)
    for name, scores in test.scores.items():
        # A score is not a probability, so it has no Brier score.
        scores = np.where(np.isnan(scores), np.nanmedian(train.scores[name]), scores)
        found[name] = risk.risk_scores(scores, actual)
        del found[name]["brier"]
    tables = (risk.summaries(part.steps, part.descriptors) for part in (train, test))
    train_table, test_table = tables
    assigned = risk.classifier_probabilities(train_table, train.targets == 1, test_table)
    return found | {name: risk.risk_scores(p, actual) for name, p in assigned.items()}
