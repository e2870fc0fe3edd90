"""Labelled sequences as batches: what a training fixes, and predictions for new sequences."""

import dataclasses
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.tasks.batch import IGNORE_INDEX, Batch, last_steps, loss_mask
from rnnlab.tasks.batching.padding import split_batches
from rnnlab.tasks.labelled_data import one_target, only_at_end
from rnnlab.tasks.predictions import (
    RUN_DATA,
    Outputs,
    Predictions,
    predict_batches,
    require_run_data,
    with_summary,
)
from rnnlab.tasks.readers.arrays import Examples, to_examples
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.examples import read_examples
from rnnlab.tasks.readers.labelled_table import TableColumns, read_labelled_table
from rnnlab.tasks.readers.memory import NAME, arrays_in_memory
from rnnlab.tasks.wording import MAX_NAMES, counted, shortened

MAX_VOCAB = 1_000_000
"""Greatest number of token ids or classes: more indicate a mistake in the data."""


@dataclass(frozen=True)
class SequencePreparation:
    """Classes, token ids, means and deviations, as a training on labelled sequences fixes them.

    Attributes:
      path: the file of the training data, for messages.
      batch_size: examples per batch.
      classes: names of the classes; empty where targets are values.
      has_one_target: whether each sequence has one target, at its last time step.
      vocab_size: number of token ids; None where inputs are values.
      in_features: values per time step of the inputs; None where inputs are token ids.
      out_features: number of classes, or of target values per time step.
      input_mean, input_scale: (in_features,), of the training part; None where inputs are ids. The
        scale of a feature that does not vary is infinite: it becomes 0.
      target_mean: (out_features,), of the training part; None where targets are classes.
      target_scale: the deviation of all target values from their means.
      columns: the meaning of the columns of a table.
      test: the batches of the training's own test part.
      test_examples: (examples,) numbers or ids of the sequences of the test part, in their file.
    """

    path: Path
    batch_size: int
    classes: tuple[str, ...] = field(repr=False)
    has_one_target: bool
    vocab_size: int | None
    in_features: int | None
    out_features: int
    input_mean: np.ndarray | None = field(default=None, repr=False)
    input_scale: np.ndarray | None = field(default=None, repr=False)
    target_mean: np.ndarray | None = field(default=None, repr=False)
    target_scale: float = 1.0
    columns: TableColumns = field(default_factory=TableColumns, repr=False)
    test: Callable[[], Iterable[Batch]] | None = field(default=None, repr=False, metadata=RUN_DATA)
    test_examples: np.ndarray | None = field(default=None, repr=False, metadata=RUN_DATA)

    @classmethod
    def of(
        cls, path: Path, examples: Examples, batch_size: int, columns: TableColumns
    ) -> "SequencePreparation":
        """Returns the preparation that follows from all examples, without means and scales.

        Raises:
          DataError: no time step has a target, or there is only one class.
        """
        dataset = _batch(examples)
        if not loss_mask(dataset).any():
            raise data_error(path, "must have a scored target, got none; label a time step")
        is_value = dataset.targets.dtype.kind == "f"
        classes = () if is_value else _names(examples)
        if len(classes) == 1:
            raise data_error(path, "must have >= 2 classes, got 1; add examples of another class")
        are_tokens = examples.inputs.ndim == 2
        return cls(
            path=path,
            batch_size=batch_size,
            classes=classes,
            has_one_target=one_target(dataset),
            vocab_size=1 + int(examples.inputs.max()) if are_tokens else None,
            in_features=None if are_tokens else examples.inputs.shape[-1],
            out_features=dataset.targets.shape[-1] if is_value else len(classes),
            columns=dataclasses.replace(columns, features=examples.features, are_values=is_value),
        )

    def fitted(self, train: Batch) -> "SequencePreparation":
        """Returns this preparation with the means and scales of the training part.

        Raises:
          DataError: a target value is never known in the training part.
        """
        changes: dict[str, Any] = {}
        if self.vocab_size is None:
            # In float64: float32 sums of squares lose a small deviation around a large mean.
            steps = train.inputs[train.mask].astype(np.float64)
            varies = steps.max(axis=0) > steps.min(axis=0)
            changes["input_mean"] = steps.mean(axis=0)
            changes["input_scale"] = np.where(varies, steps.std(axis=0), np.inf)
        if not self.classes:
            changes |= self._target_statistics(train)
        return dataclasses.replace(self, **changes)

    def encode(self, path: Path, examples: Examples, *, accept_unknown: bool = False) -> Batch:
        """Returns examples with the training's numbers of the classes, and a mask.

        Args:
          path: where the examples come from, for messages.
          examples: the sequences; without targets, no time step is scored.
          accept_unknown: whether a class may be unknown: then it is not scored.

        Raises:
          DataError: the examples are of another kind than the training data.
        """
        dataset = _batch(examples)
        if examples.targets is None:
            shape = (*dataset.mask.shape, *(() if self.classes else (self.out_features,)))
            unscored = (
                np.full(shape, IGNORE_INDEX, np.int32)
                if self.classes
                else np.full(shape, np.nan, np.float32)
            )
            dataset = dataset._replace(targets=unscored)
        self._check_kind(path, dataset, examples.targets is not None)
        if not self.classes or examples.targets is None:
            return dataset
        names, known = _names(examples), dataset.targets != IGNORE_INDEX
        numbers = {name: number for number, name in enumerate(self.classes)}
        mapping = np.array([numbers.get(name, IGNORE_INDEX) for name in names], np.int32)
        present = range(len(names)) if examples.classes else np.unique(dataset.targets[known])
        unknown = [k for k in present if mapping[k] == IGNORE_INDEX]
        if unknown and not accept_unknown:
            shown = ", ".join(self.classes[:20])
            reason = f"must have only the classes of {self.path.name}, got {names[unknown[0]]!r}"
            raise data_error(path, f"{reason}; use one of {shown}")
        targets = np.where(known, mapping[np.where(known, dataset.targets, 0)], IGNORE_INDEX)
        return dataset._replace(targets=targets.astype(np.int32))

    def standardize(self, dataset: Batch) -> Batch:
        """Returns examples whose values are standardized; padding stays 0."""
        if self.input_mean is not None:
            inputs = (dataset.inputs - self.input_mean) / self.input_scale
            inputs = np.where(dataset.mask[..., None], inputs, 0).astype(np.float32)
            dataset = dataset._replace(inputs=inputs)
        if self.target_mean is not None:
            targets = (dataset.targets - self.target_mean) / self.target_scale
            dataset = dataset._replace(targets=targets.astype(np.float32))
        return dataset

    def predict(self, outputs: Outputs, source: Any, horizon: int | None) -> Predictions:
        """Returns the class or the values of each sequence, or of each time step of each sequence.

        The column `example` has the number of the sequence in its source, from 0, or in a table its
        id.

        A class that the training data lacks is shown as it is in `actual`, and counts as predicted
        wrong.

        Args:
          outputs: the model.
          source: None takes the test part of the training's data; a path is a file that
            `read_examples` reads. Otherwise data in memory: inputs, such as an array or a list of
            sequences of different lengths; or a tuple of inputs and targets; or a mapping with the
            names of `rnnlab.tasks.readers.npz`; or a `pandas.DataFrame` like the table of the
            training. Targets may be missing.
          horizon: must be None.

        Raises:
          DataError: the data is of another kind than the training data.
          ValueError: `horizon` is not None.
        """
        if horizon is not None:
            raise ValueError(
                f"horizon must be None for labelled sequences, which have no future values, got "
                f"{horizon}; remove it"
            )
        actual = None
        if source is None:
            batches = require_run_data(self.test)()
            numbers = require_run_data(self.test_examples)
        else:
            path, examples = self.read(source, labelled=False)
            dataset = self.encode(path, examples, accept_unknown=True)
            if self.classes and examples.targets is not None:
                actual = self._actual(examples, dataset.mask)
            numbers = example_ids(examples)
            size = min(self.batch_size, len(dataset.inputs))
            batches = split_batches(self.standardize(dataset), size)
        found = predict_batches(
            outputs,
            batches,
            "categorical" if self.classes else "squared",
            classes=self.classes,
            last_step_only=self.has_one_target,
            target_mean=0.0 if self.target_mean is None else self.target_mean,
            target_scale=self.target_scale,
        )
        columns = {**found.columns, "example": numbers[found.columns["example"]]}
        if actual is not None:
            columns["actual"] = actual
        return with_summary(dataclasses.replace(found, columns=columns))

    def describe(self, dataset: Batch) -> str:
        """Returns a sentence on what was detected in the training's file, given its examples."""
        lengths = dataset.mask.sum(axis=1)
        spread = f"{lengths.min()} to {lengths.max()}" if np.ptp(lengths) else f"{lengths[0]}"
        inputs = f"token ids below {self.vocab_size} (store floats if they are values)"
        if self.vocab_size is None:
            inputs = f"{counted(self.in_features, 'value')} per time step"
            if self.columns.features and self.columns.id is not None:
                inputs += f" ({shortened(self.columns.features)})"
        per = "sequence" if self.has_one_target else "time step"
        target = f"one of {len(self.classes)} classes per {per}: {shortened(self.classes)}"
        if not self.classes:
            target = f"{counted(self.out_features, 'value')} per {per}"
            known = dataset.targets[loss_mask(dataset)]
            if (known == np.round(known)).all() and len(np.unique(known)) <= MAX_NAMES:
                target += " (store integers or strings if they are classes)"
        return (
            f"{self.path.name}: {counted(len(lengths), 'sequence')} of {spread} time steps. "
            f"Inputs: {inputs}. Target: {target}."
        )

    def _target_statistics(self, train: Batch) -> dict[str, Any]:
        known = np.where(loss_mask(train), train.targets, np.nan).astype(np.float64)
        never = np.isnan(known).all(axis=(0, 1))
        if never.any():
            reason = f"target {int(never.argmax())} must be scored in the training part"
            raise data_error(self.path, f"{reason}, got nowhere; remove it or score some of it")
        mean = np.nanmean(known, axis=(0, 1))
        varies = (np.nanmax(known, axis=(0, 1)) > np.nanmin(known, axis=(0, 1))).any()
        scale = float(np.sqrt(np.nanmean((known - mean) ** 2))) if varies else 1.0
        return {"target_mean": mean, "target_scale": scale}

    def _check_kind(self, path: Path, dataset: Batch, has_targets: bool) -> None:
        """Raises if examples are of another kind than those of the training."""
        kinds = {
            "inputs": ((np.int32, ()) if self.vocab_size else (np.float32, (self.in_features,))),
            "targets": ((np.int32, ()) if self.classes else (np.float32, (self.out_features,))),
        }
        for name, (dtype, shape) in kinds.items():
            found = getattr(dataset, name)
            if found.dtype != dtype or found.shape[2:] != shape:
                action = "convert it"
                if name == "inputs" and found.shape[1:] == (*shape, 1):  # was (time, features)
                    action = "add a batch axis, as in inputs[None], if they are one sequence"
                raise data_error(
                    path,
                    f"{name} must be {np.dtype(dtype)} of shape {shape} per time step, as in "
                    f"{self.path.name}, got {found.dtype} of shape {found.shape[2:]}; {action}",
                )
        if self.has_one_target:
            fits = only_at_end(dataset)
        else:
            fits = dataset.mask.shape[1] == 1 or not one_target(dataset)
        if has_targets and not fits:
            kind = "class" if self.classes else "value"
            raise data_error(
                path,
                f"must have a {kind} per sequence or per time step, as {self.path.name} has, got "
                "the other; relabel one of them",
            )

    def read(self, source: Any, *, labelled: bool) -> tuple[Path, Examples]:
        """Returns new examples, and a name for messages, as `predict` describes the source."""
        limits = {"vocab_size": self.vocab_size or MAX_VOCAB, "num_classes": MAX_VOCAB}
        if isinstance(source, str | os.PathLike):
            read = read_examples(source, **limits, labelled=labelled, columns=self.columns)
            return Path(source), read
        if self.columns.features and hasattr(source, "columns"):
            return NAME, read_labelled_table(source, self.columns, labelled=labelled)
        arrays = arrays_in_memory(source)
        return NAME, to_examples(NAME, arrays, **limits, labelled=labelled)

    def _actual(self, examples: Examples, mask: np.ndarray) -> np.ndarray:
        """The names of the classes by row of the predictions, empty where unknown."""
        names, targets = np.array(_names(examples), object), examples.targets
        rows = targets[last_steps(mask) if self.has_one_target else mask]
        return np.where(rows != IGNORE_INDEX, names[np.where(rows >= 0, rows, 0)], "").astype(str)


def example_ids(examples: Examples) -> np.ndarray:
    """Returns the ids of the sequences of a table, or the numbers of other sequences from 0."""
    return np.arange(len(examples.inputs)) if examples.ids is None else np.array(examples.ids)


def _batch(examples: Examples) -> Batch:
    mask = examples.mask
    if mask is None:
        mask = np.ones(examples.inputs.shape[:2], bool)
    return Batch(examples.inputs, examples.targets, mask)


def _names(examples: Examples) -> tuple[str, ...]:
    """The names of the classes, which are their numbers if they have no other."""
    if examples.classes is not None:
        return examples.classes
    return tuple(map(str, range(1 + int(examples.targets.max(initial=-1)))))
