"""Series to forecast, split by time, and what their parts must hold."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.series import Series, SeriesColumns
from rnnlab.tasks.reference.naive import last_value
from rnnlab.tasks.series_features import ahead, within


class SeriesSplit(NamedTuple):
    """Series to forecast and how they are split.

    Attributes:
      path: their file.
      columns: what its columns are.
      series: the values.
      season: time steps per season.
      boundaries: where the training part and the validation part end.
      end: where the test part ends.
    """

    path: Path
    columns: SeriesColumns
    series: Series
    season: int
    boundaries: tuple[int, int]
    end: int

    @property
    def is_single(self) -> bool:
        """Whether there is one column of one series, whose errors are in its own units."""
        return self.series.values.shape[0] * self.series.values.shape[2] == 1


def validate_split(split: SeriesSplit, length: int, horizon: int) -> None:
    """Checks that there is something to train on, and something to forecast in each part.

    Raises:
      DataError: the series is too short or constant, or a part has no value to forecast.
    """
    if split.boundaries[0] < length + horizon:
        raise data_error(
            split.path,
            f"must have >= length + horizon = {length + horizon} time steps to train on, got "
            f"{split.boundaries[0]} of {split.series.values.shape[1]}; lower length or horizon",
        )
    starts, ends = (0, *split.boundaries), (*split.boundaries, split.end)
    for name, start, stop in zip(("training", "validation", "test"), starts, ends, strict=True):
        for c, column in enumerate(split.series.columns):
            if not any(_has_target(x[:, c], horizon, start, stop) for x in split.series.values):
                raise data_error(
                    split.path,
                    f"must have a value to forecast in its {name} part, time steps {start} to "
                    f"{stop - 1}, got none; lower horizon or move the parts",
                    column=column,
                )
    _check_varies(split)


def _has_target(values: np.ndarray, horizon: int, start: int, end: int) -> bool:
    targets = ahead(values, horizon) - last_value(values, horizon)
    return not np.isnan(within(targets, horizon, start, end)).all()


def _check_varies(split: SeriesSplit) -> None:
    known = split.series.values[:, : split.boundaries[0]]
    for c, column in enumerate(split.series.columns):
        x = known[..., c]
        if (np.nanmax(x, axis=1) == np.nanmin(x, axis=1))[~np.isnan(x).all(axis=1)].all():
            reason = "must vary in its training part, but is constant; choose another column"
        elif not 1e-100 < np.nanmax(np.abs(x)) < 1e100:
            reason = "must be in 1e-100 to 1e100 to be squared, but is not; change its units"
        else:
            continue
        raise data_error(split.path, reason, column=column)
