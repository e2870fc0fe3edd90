"""Irregular records, such as stays in intensive care: predict the class of each."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnlab.tasks.data import TaskData
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.events import EventColumns
from rnnlab.tasks.record_data import record_data
from rnnlab.tasks.record_features import RecordFeatures
from rnnlab.tasks.record_parts import (
    ICU_CLASSES,
    RecordLayout,
    RecordPart,
    icu_layout,
    icu_parts,
    read_labelled_records,
)
from rnnlab.tasks.record_preparation import RecordPreparation
from rnnlab.tasks.splits import by_group, stratified
from rnnlab.tasks.wording import counted
from rnnlab.validation import require_positive_int


@dataclass(frozen=True)
class IrregularRecords:
    """Predict the class of each record from measurements at irregular times.

    The default data is that of the PhysioNet/CinC Challenge 2012: who dies in hospital, from 37
    variables in the first 48 hours of 12,000 stays in intensive care. Set a is the training part, b
    the validation part and c the test part, 4,000 stays each, one per patient.

    `rnnlab.tasks.record_features.RecordFeatures` has the inputs of a time step: last known values,
    which variables are measured, how long ago each was, the clock and what describes the record.
    Means, deviations and limits of values are those of the training part. `Batch.gaps` is the time
    between time steps, in the unit of the table. The class is predicted at the last time step.

    For two classes the metrics are those of `rnnlab.tasks.record_data.RISK_METRICS`, of which the
    second class is the positive one. Baselines are classifiers on six summaries of each variable:
    logistic regression, an SVM, an MLP and boosted trees; and for the default data the severity
    score SAPS-I. For more classes, the metrics are accuracy and NLL.

    Attributes:
      path: a long event table, one line per measurement with an id, a time, a variable and a value
        (`.csv`, `.tsv` or `.parquet`); or a folder with the files of PhysioNet 2012. None is the
        folder that `rnnlab data` fills.
      labels: a table with one line per record: its id, and its class in the column `label`. Only
        and always with an event table.
      label: the column of the classes.
      id, time, variable, value: columns of the event table; None detects them.
      descriptors: variables of the event table that do not change, such as an age, separated by
        commas. Their first value is an input at every time step.
      categories: descriptors whose numbers are codes of categories, separated by commas.
      group: a column of the labels whose groups, such as patients, are not split between parts.
      interval: width of a time step, in the unit of the times: hours for dates and clock times.
        None takes distinct times as time steps, and an hour for the default data.
      max_steps: the last time steps of a longer record are kept. Values measured before stay known.
      batch_size: records per batch, padded to the longest of the training part.
      valid, test: fractions of the records in the validation and the test part, stratified by class
        unless `group` is given. The default data has its own parts.

    Raises:
      ValueError: a setting is out of range or does not fit the others; DataError if a file is
        invalid or missing.

    Source: Silva et al., "Predicting in-hospital mortality of ICU patients: the PhysioNet/Computing
    in Cardiology Challenge 2012", Computing in Cardiology 39 (2012).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     events, labels = Path(folder, "events.csv"), Path(folder, "labels.csv")
    ...     lines = [f"{k},{t / 2},HR,{60 + k + t}" for k in range(40) for t in range(1 + k % 3)]
    ...     _ = events.write_text("\\n".join(["id,time,variable,value", *lines]))
    ...     rows = [f"{k},{'fast' if k > 19 else 'slow'}" for k in range(40)]
    ...     _ = labels.write_text("\\n".join(["id,label", *rows]))
    ...     data = IrregularRecords(events, labels, batch_size=8).load(seed=0)
    >>> batch = data.train_batch(0)
    >>> data.classes, batch.inputs.shape, batch.gaps.max().item()
    (('fast', 'slow'), (8, 3, 5), 0.5)
    """

    path: Path | None = None
    labels: Path | None = None
    label: str = "label"
    id: str | None = None
    time: str | None = None
    variable: str | None = None
    value: str | None = None
    descriptors: str | None = None
    categories: str | None = None
    group: str | None = None
    interval: float | None = None
    max_steps: int = 96
    batch_size: int = 64
    valid: float = 0.15
    test: float = 0.15

    def __post_init__(self):
        require_positive_int(max_steps=self.max_steps, batch_size=self.batch_size)
        if self.interval is not None and not 0 < self.interval < float("inf"):
            raise ValueError(f"interval must be > 0 or None, got {self.interval}; raise it")
        unknown = set(_names(self.categories)) - set(_names(self.descriptors))
        if unknown:
            raise ValueError(
                f"categories must be descriptors, got {sorted(unknown)[0]!r}; add it to descriptors"
            )

    def load(self, seed: int) -> TaskData:
        """Reads the files. `seed` orders the training batches."""
        parts, layout, classes, notes = self._read()
        train, valid, test = parts
        features = RecordFeatures.of(train.steps, train.descriptors, layout.category_positions)
        data = record_data(
            train,
            {"valid": valid, "test": test},
            features,
            classes=classes,
            batch_size=self.batch_size,
            max_steps=self.max_steps,
            seed=seed,
        )
        preparation = RecordPreparation(
            layout, features, classes, self.max_steps, self.batch_size, test
        )
        return dataclasses.replace(data, preparation=preparation, notes=notes)

    def _read(self) -> tuple[list[RecordPart], RecordLayout, tuple[str, ...], tuple[str, ...]]:
        """The parts, their layout, the names of the classes and notes."""
        if self.path is None or Path(self.path).is_dir():
            if self.labels is not None:
                raise ValueError(
                    f"labels must be used with an event table, got path {self.path}; name the file "
                    "of the events by path"
                )
            layout = icu_layout(self.interval)
            parts = icu_parts(self.path and Path(self.path), layout.interval)
            return list(parts), layout, ICU_CLASSES, ()
        if self.labels is None:
            raise ValueError(
                "labels must be given with an event table, got None; name the table of the classes "
                "by labels"
            )
        path = Path(self.path)
        layout = RecordLayout(
            (),
            _names(self.descriptors),
            _names(self.categories),
            self.interval,
            EventColumns(self.id, self.time, self.variable, self.value),
        )
        read = read_labelled_records(
            path, Path(self.labels), layout, label=self.label, group=self.group
        )
        fractions = [self.valid, self.test]
        try:
            if read.groups is None:
                indices = stratified(read.part.targets, fractions)
            else:
                indices = by_group(read.groups, fractions)
        except ValueError as error:
            raise data_error(path, f"cannot be split: {error}") from None
        parts = [read.part.select(part) for part in indices]
        for name, part in zip(("training", "validation", "test"), parts, strict=True):
            if len(np.unique(part.targets)) < 2:
                found = read.classes[part.targets[0]]
                reason = f"must have >= 2 classes in the {name} part, got only {found!r}"
                raise data_error(path, f"{reason}; add records or raise its fraction")
        note = _describe(path, read.part, read.layout, read.classes)
        return parts, read.layout, read.classes, (*read.notes, note)


def _names(listed: str | None) -> tuple[str, ...]:
    """The names that commas separate."""
    return tuple(name.strip() for name in (listed or "").split(",") if name.strip())


def _describe(path: Path, part: RecordPart, layout: RecordLayout, classes: tuple[str, ...]) -> str:
    """A sentence on what was detected in an event table."""
    lengths = part.steps.lengths
    counts = np.bincount(part.targets, minlength=len(classes))
    named = ", ".join(f"{n:,} {name}" for name, n in zip(classes, counts, strict=True))
    return (
        f"{path.name}: {len(lengths):,} records of {lengths.min()} to {lengths.max()} time steps, "
        f"{counted(len(layout.variables), 'variable')} and "
        f"{counted(len(layout.descriptors), 'descriptor')}. "
        f"Classes: {named}."
    )
