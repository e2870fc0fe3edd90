"""Predictive maintenance: how many cycles an engine has left, from its sensors."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnlab.datasets import dataset_files
from rnnlab.tasks.batch import Batch, last_steps
from rnnlab.tasks.batching.padding import pad, split_batches
from rnnlab.tasks.batching.strategies import training_batches
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.readers.turbofan import Engines, read_turbofans
from rnnlab.tasks.reference import remaining_life
from rnnlab.tasks.splits import by_group
from rnnlab.validation import require_positive_int

CUTS = (0.35, 0.5, 0.65, 0.8, 0.95)
"""Shares of its life after which each validation engine is cut, as those of the test part are."""


@dataclass(frozen=True)
class Turbofan:
    """Predict the remaining life of simulated turbofan engines at every cycle, from NASA's C-MAPSS.

    100 engines of the subset FD001 run until they fail; 100 others stop before that, and only their
    last cycle is scored. Inputs are, of each column that varies, standardized by the training
    engines, the difference between the means over the last and over the first 20 cycles; and the
    number of the cycle in hundreds. All of them are known at their cycle. Targets are capped: an
    engine without wear does not show its age.

    The metrics are the RMSE against the capped truth and against the raw one, and the score of the
    PHM 2008 challenge against the raw one.

    Attributes:
      path: folder of the data set `cmapss-fd001`; None is that of `rnnlab data`.
      cap: largest remaining life of the targets, in cycles.
      batch_size: engines per batch.
      valid: fraction of the engines that are validated on, each cut after 5 shares of its life.

    Raises:
      ValueError: a setting is out of range.
      DataError: the data set is missing or corrupt.

    Source: Saxena et al., PHM 2008; the cap: Heimes, PHM 2008.

    >>> Turbofan(batch_size=8)
    Turbofan(path=None, cap=125, batch_size=8, valid=0.2)
    """

    path: Path | None = None
    cap: int = 125
    batch_size: int = 16
    valid: float = 0.2

    def __post_init__(self):
        require_positive_int(batch_size=self.batch_size, cap=self.cap)

    def load(self, seed: int) -> TaskData:
        """Reads the engines. `seed` orders the training batches."""
        engines, tested = read_turbofans(dataset_files("cmapss-fd001", self.path))
        digest = fingerprint(
            *(*engines.values, engines.remaining, *tested.values, tested.remaining),
            f"cap {self.cap}, valid {self.valid}, cuts {CUTS}",
        )
        train, valid = self._parts(engines)
        scale = _Scale.of(train.values)
        sets = {"valid": _cut(valid), "test": tested}
        dataset = self._batch(scale, train)
        # The numbers of the test engines follow those of the validation engines.
        lives = np.concatenate([part.remaining for part in sets.values()])
        first = dict(zip(sets, (0, len(sets["valid"].values)), strict=True))
        evaluated = {
            name: _only_last(self._batch(scale, part, first[name])) for name, part in sets.items()
        }

        def decode(outputs: np.ndarray, batch: Batch) -> list[tuple[float, float]]:
            at = last_steps(batch.mask)
            predicted = self.cap * outputs[at][:, 0]
            return list(
                zip(predicted.tolist(), lives[batch.example[at.any(1)]].tolist(), strict=True)
            )

        return TaskData(
            loss="squared",
            metrics=("rmse", "rmse_uncapped", "phm_score"),
            out_features=1,
            train_batch=training_batches(dataset, "pad", self.batch_size, seed),
            eval_sets={
                name: functools.partial(split_batches, part, self.batch_size)
                for name, part in evaluated.items()
            },
            baselines=lambda: _baselines(self, digest),
            in_features=dataset.inputs.shape[-1],
            target_scale=float(self.cap),
            decode=decode,
            fingerprint=digest,
            notes=(
                f"{len(train.values)} engines to train on, {len(valid.values)} to validate on, "
                f"{len(tested.values)} to test on; {scale.columns.sum()} of {len(scale.columns)} "
                "columns vary.",
            ),
        )

    def _parts(self, engines: Engines) -> tuple[Engines, Engines]:
        """The training and the validation engines, which are whole."""
        parts = by_group(np.arange(len(engines.values)), [self.valid])
        train, valid = (
            Engines(tuple(engines.values[k] for k in part), engines.remaining[part])
            for part in parts
        )
        return train, valid

    def _batch(self, scale: "_Scale", engines: Engines, first: int = 0) -> Batch:
        """All engines, with their capped life at every cycle, relative to the cap."""
        sequences = [_inputs(x) for x in scale(engines.values)]
        inputs, mask = pad(sequences)
        lives = [
            np.minimum(engines.remaining_life(k), self.cap)[:, None].astype(np.float32) / self.cap
            for k in range(len(engines.values))
        ]
        targets, _ = pad(lives, value=np.nan)
        example = np.arange(first, first + len(inputs), dtype=np.int32)
        return Batch(inputs, targets, mask, example=example)


@dataclass(frozen=True)
class _Scale:
    """The columns that vary in the training engines, their means and deviations."""

    columns: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, values: Sequence[np.ndarray]) -> "_Scale":
        rows = np.concatenate(values)
        # A column of one rounded number has a deviation of rounding only.
        varies = rows.std(axis=0) > 1e-6 * np.maximum(np.abs(rows.mean(axis=0)), 1)
        rows = rows[:, varies]
        return cls(varies, rows.mean(axis=0), rows.std(axis=0))

    def __call__(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the standardized columns of each engine."""
        return [(x[:, self.columns] - self.mean) / self.deviation for x in values]


def _inputs(values: np.ndarray) -> np.ndarray:
    """The inputs of an engine from its standardized columns."""
    features = remaining_life.window_features(values)
    cycle = np.arange(1, len(values) + 1)[:, None] / 100
    return np.concatenate([features[:, -values.shape[1] :], cycle], 1).astype(np.float32)


def _cut(engines: Engines) -> Engines:
    """The engines after each of `CUTS` of their life."""
    values, remaining = [], []
    for x in engines.values:
        for share in CUTS:
            length = max(1, round(share * len(x)))
            values.append(x[:length])
            remaining.append(len(x) - length)
    return Engines(tuple(values), np.array(remaining))


def _only_last(batch: Batch) -> Batch:
    """A batch of which only the last cycle of each engine is scored."""
    return batch._replace(
        targets=np.where(last_steps(batch.mask)[..., None], batch.targets, np.nan)
    )


@functools.lru_cache(maxsize=2)
def _baselines(task: Turbofan, digest: str) -> dict[str, dict[str, float]]:
    """The baselines of a task and the digest of its data: fitted once for all runs of a grid."""
    del digest
    engines, tested = read_turbofans(dataset_files("cmapss-fd001", task.path))
    train, _ = task._parts(engines)
    scale = _Scale.of(train.values)
    return remaining_life.scores(scale(train.values), train, scale(tested.values), tested, task.cap)
