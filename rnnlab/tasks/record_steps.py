"""Time steps of irregular records: which variables are measured at each, and when."""

from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.events import Events


class RecordSteps(NamedTuple):
    """Time steps of several records, one after another.

    The time steps of record k are those from `offsets[k]` up to `offsets[k + 1]`.

    Attributes:
      values: (steps, variables) float32, NaN where a variable is not measured.
      times: (steps,) float64, not decreasing within a record.
      offsets: (records + 1,) int64, where the time steps of a record begin, and of the last one
        end.
    """

    values: np.ndarray
    times: np.ndarray
    offsets: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """The number of time steps of each record."""
        return np.diff(self.offsets)

    def select(self, records: np.ndarray) -> "RecordSteps":
        """Returns some of the records, in the order of their numbers `records`."""
        rows = self.rows(records)
        offsets = np.concatenate([[0], np.cumsum(self.lengths[records])])
        return RecordSteps(self.values[rows], self.times[rows], offsets)

    def rows(self, records: np.ndarray) -> np.ndarray:
        """Returns the numbers of the time steps of records, record by record."""
        lengths = self.lengths[records]
        starts = np.cumsum(lengths) - lengths
        return np.arange(lengths.sum()) + np.repeat(self.offsets[:-1][records] - starts, lengths)


def record_steps(events: Events, width: float | None) -> RecordSteps:
    """Returns the time steps of records from their measurements.

    A time step is a distinct time, or an interval of `width` in which something is measured: its
    time is that of its last measurement. Of several values of a variable in a time step the last
    one counts. A record without measurements has one time step, at time 0, at which all are
    missing.

    Args:
      events: the measurements.
      width: of the intervals, in the unit of the times; None: distinct times.

    >>> events = Events(
    ...     ids=("7", "8"),
    ...     variables=("HR", "Temp"),
    ...     offsets=np.array([0, 3, 3]),
    ...     times=np.array([0.1, 0.4, 1.2]),
    ...     variable=np.array([0, 1, 0], np.int32),
    ...     values=np.array([80.0, 37.5, 82.0]),
    ... )
    >>> steps = record_steps(events, width=1.0)
    >>> steps.times.tolist(), steps.offsets.tolist()
    ([0.4, 1.2, 0.0], [0, 2, 3])
    >>> steps.values.tolist()
    [[80.0, 37.5], [82.0, nan], [nan, nan]]
    """
    records = len(events.ids)
    owner = np.repeat(np.arange(records), np.diff(events.offsets))
    interval = events.times if width is None else np.floor(events.times / width)
    is_new = np.ones(len(owner), bool)
    is_new[1:] = (np.diff(owner) > 0) | (np.diff(interval) > 0)
    counts = np.bincount(owner[is_new], minlength=records)
    offsets = np.concatenate([[0], np.cumsum(np.maximum(counts, 1))])
    # Steps of records without measurements shift the steps after them.
    shift = offsets[:-1] - np.concatenate([[0], np.cumsum(counts)[:-1]])
    step = np.cumsum(is_new) - 1 + shift[owner]
    values = np.full((offsets[-1], len(events.variables)), np.nan, np.float32)
    times = np.zeros(offsets[-1])
    # Measurements are ordered by time, and NumPy assigns in order: the last one of a step stays.
    values[step, events.variable] = events.values
    times[step] = events.times
    return RecordSteps(values, times, offsets)
