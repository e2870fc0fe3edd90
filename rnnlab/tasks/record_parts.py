"""Labelled irregular records: of intensive care, or of a user's long table of events."""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnlab.datasets import dataset_files
from rnnlab.tasks.batch import IGNORE_INDEX
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.events import NAMES, EventColumns, Events, read_events
from rnnlab.tasks.readers.icu import DESCRIPTORS, VARIABLES, read_icu_stays
from rnnlab.tasks.readers.table import Table, read_table
from rnnlab.tasks.record_steps import RecordSteps, record_steps

ICU_SETS = ("a", "b", "c")
"""The sets of the PhysioNet/CinC Challenge 2012: training, validation, test."""

ICU_CLASSES = ("survived", "died")

ICU_INTERVAL = 1.0
"""Hours of a time step of intensive care."""


@dataclass(frozen=True)
class RecordLayout:
    """The meaning of the columns of irregular records.

    Attributes:
      variables: names of what is measured over time.
      descriptors: names of what describes a record and does not change.
      categories: the descriptors whose numbers are codes of categories.
      interval: width of a time step, in the unit of the times; None: distinct times.
      columns: of an event table.
    """

    variables: tuple[str, ...]
    descriptors: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    interval: float | None = None
    columns: EventColumns = field(default_factory=EventColumns)

    @property
    def category_positions(self) -> tuple[int, ...]:
        """The positions of `categories` in `descriptors`."""
        return tuple(map(self.descriptors.index, self.categories))


@dataclass(frozen=True)
class RecordPart:
    """Irregular records and their classes.

    Attributes:
      ids: what distinguishes the records.
      steps: their time steps.
      descriptors: (records, descriptors) float64, NaN where unknown.
      targets: (records,) int32, `IGNORE_INDEX` where unknown.
      scores: established scores by name, (records,) float64 each, NaN where unknown; higher means
        more likely of the last class.
    """

    ids: np.ndarray
    steps: RecordSteps
    descriptors: np.ndarray
    targets: np.ndarray
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)

    def select(self, records: np.ndarray) -> "RecordPart":
        """Returns some of the records, in the order of their numbers."""
        return RecordPart(
            self.ids[records],
            self.steps.select(records),
            self.descriptors[records],
            self.targets[records],
            {name: values[records] for name, values in self.scores.items()},
        )


def icu_layout(interval: float | None) -> RecordLayout:
    """Returns the layout of intensive care, with time steps of `ICU_INTERVAL` by default."""
    interval = ICU_INTERVAL if interval is None else interval
    return RecordLayout(VARIABLES, DESCRIPTORS, ("ICUType",), interval, EventColumns())


def icu_parts(path: Path | None, interval: float) -> tuple[RecordPart, ...]:
    """Returns the three sets of PhysioNet 2012: to train on, to choose on, to report.

    A process reads the files once, and verifies them at each call.

    Args:
      path: a folder with the files of the set; None is the data folder of `rnnlab data`.
      interval: hours of a time step.

    Raises:
      DataError: a file is missing or corrupt.
    """
    files = dataset_files("physionet2012", path)
    return _read_icu_parts(tuple(sorted(files.items())), interval)


@functools.lru_cache(maxsize=1)
def _read_icu_parts(files: tuple[tuple[str, Path], ...], interval: float) -> tuple[RecordPart, ...]:
    return tuple(read_icu_part(dict(files), name, interval) for name in ICU_SETS)


def read_icu_part(files: Mapping[str, Path], name: str, interval: float) -> RecordPart:
    """Returns one of the sets; `files` and `name` are those of `read_icu_stays`."""
    stays = read_icu_stays(files, name)
    died = stays.outcome("In-hospital_death")
    return RecordPart(
        stays.ids,
        record_steps(stays.events, interval),
        stays.descriptors,
        np.where(np.isnan(died), IGNORE_INDEX, died).astype(np.int32),
        {"SAPS-I score": stays.outcome("SAPS-I")},
    )


class LabelledRecords(NamedTuple):
    """The records of a user's tables.

    Attributes:
      part: those that have a class.
      layout: of the event table.
      classes: names of the classes, sorted.
      groups: (records,) the group of each record, whose records stay in one part; None: each record
        is a group of its own.
      notes: sentences on what was detected.
    """

    part: RecordPart
    layout: RecordLayout
    classes: tuple[str, ...]
    groups: np.ndarray | None
    notes: tuple[str, ...]


def read_records(source: Any, layout: RecordLayout) -> RecordPart:
    """Returns the records of a long event table, without classes.

    A descriptor is a variable of the table whose first value in a record counts.

    Args:
      source: a file or a data frame, as `read_events` reads it.
      layout: of the table.

    Raises:
      DataError: a column is missing, a cell is invalid, or no variable is one of the layout's.
    """
    names = (*layout.variables, *layout.descriptors)
    events = read_events(source, layout.columns, variables=names)
    if not len(events.values):
        shown = ", ".join(names[:10])
        path = Path(source) if isinstance(source, str | os.PathLike) else Path("the data frame")
        raise data_error(
            path, f"must have variables such as {shown}, got none of them; rename them"
        )
    return _split_events(events, layout)


def read_labelled_records(
    path: Path, labels: Path, layout: RecordLayout, *, label: str, group: str | None
) -> LabelledRecords:
    """Returns the records of a long event table, with the classes of a table of labels.

    Records without a label are omitted, and so are labels without a record.

    Args:
      path: the event table.
      labels: a table with one line per record, whose column of ids has the name that it has in the
        event table, or another one that is detected.
      layout: of the event table; without variables, all that are no descriptors are taken.
      label: the column of the classes.
      group: a column of the labels that names groups, such as patients of several stays.

    Raises:
      DataError: a file is invalid, or the two have no record in common.
    """
    events = read_events(path, layout.columns)
    for name in layout.descriptors:
        if name not in events.variables:
            known = ", ".join(events.variables[:20])
            raise data_error(path, f"has no variable {name!r}; choose descriptors from {known}")
    variables = tuple(name for name in events.variables if name not in layout.descriptors)
    if not variables:
        raise data_error(
            path, "must have a variable besides the descriptors, got only them; add one"
        )
    layout = replace(layout, variables=variables)
    part = _split_events(events, layout)
    table = read_table(labels)
    column = table.index(_id_column(table, layout.columns), "--data.id")
    classes, class_of = _classes(table, column, label)
    targets = np.array([class_of.get(key, IGNORE_INDEX) for key in part.ids.tolist()], np.int32)
    known = np.flatnonzero(targets != IGNORE_INDEX)
    if not len(known):
        raise data_error(
            labels,
            f"column {table.header[column]!r} must have ids of {path.name}, such as "
            f"{part.ids[0]}, got none of them; name the column of ids by --data.id",
        )
    notes = list(events.notes)
    if missing := len(part.ids) - len(known):
        notes.append(f"{missing:,} of {len(part.ids):,} records have no label and are omitted.")
    part = replace(part, targets=targets).select(known)
    groups = None
    if group is not None:
        cells = table.cells(table.index(group, "--data.group"))
        group_of = dict(zip(table.cells(column), cells, strict=True))
        groups = np.array([group_of[key] for key in part.ids.tolist()])
    return LabelledRecords(part, layout, classes, groups, tuple(notes))


def _split_events(events: Events, layout: RecordLayout) -> RecordPart:
    """The records of events, of which the variables that are descriptors are taken out."""
    names = np.array(events.variables, str)
    number = {name: k for k, name in enumerate(layout.variables)}
    place = np.array([number.get(name, -1) for name in names], np.int32)[events.variable]
    owner = np.repeat(np.arange(len(events.ids)), np.diff(events.offsets))
    descriptors = np.full((len(events.ids), len(layout.descriptors)), np.nan)
    for k, name in enumerate(layout.descriptors):
        found = np.flatnonzero(names[events.variable] == name)[::-1]
        descriptors[owner[found], k] = events.values[found]  # the first value is assigned last
    kept = place >= 0
    counts = np.bincount(owner[kept], minlength=len(events.ids))
    measured = events._replace(
        variables=layout.variables,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        times=events.times[kept],
        variable=place[kept],
        values=events.values[kept],
    )
    return RecordPart(
        np.array(events.ids, str),
        record_steps(measured, layout.interval),
        descriptors,
        np.full(len(events.ids), IGNORE_INDEX, np.int32),
    )


def _id_column(table: Table, columns: EventColumns) -> str:
    """The name of the column of ids, which is given or one of the usual ones."""
    if columns.id is not None:
        return columns.id
    return next((name for name in table.header if name.lower() in NAMES["id"]), "id")


def _classes(table: Table, column: int, label: str) -> tuple[tuple[str, ...], dict[str, int]]:
    """The names of the classes, and the number of the class of each id that has one."""
    cells = table.cells(table.index(label, "--data.label"))
    classes = tuple(sorted(set(cells) - {""}))
    if len(classes) < 2:
        reason = f"must have >= 2 classes, got {len(classes)}; add records of another class"
        raise data_error(table.path, reason, column=label)
    number = {name: k for k, name in enumerate(classes)}
    found: dict[str, int] = {}
    for row, (key, cell) in enumerate(zip(table.cells(column), cells, strict=True)):
        if cell and found.setdefault(key, number[cell]) != number[cell]:
            reason = f"record {key!r} must have one class, got a second one; remove it"
            raise data_error(table.path, reason, line=table.lines[row], column=label)
    return classes, found
