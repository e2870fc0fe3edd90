"""Forecasting of a series with gaps, evaluated walk-forward against naive forecasts."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from rnnlab.optional import package_data_path
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.readers.csv_series import Series, read_series
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.reference.naive import last_observed, last_value, rmse_mae, seasonal_naive
from rnnlab.tasks.series_features import (
    default_season,
    previous,
    seasonal_features,
    standardize,
    steps_since_observed,
    trailing_mean,
)
from rnnlab.validation import require_one_of, require_positive_int

# Package, its file, the column of values, time steps per season.
_BUILT_IN = {
    "co2": ("statsmodels", ("datasets", "co2", "co2.csv"), "co2", 52),
    "temperature": ("vega_datasets", ("_data", "seattle-weather.csv"), "temp_max", 365),
}


@dataclass(frozen=True)
class Forecasting:
    """Forecast the next `horizon` values of a series at every time step.

    The series is split by time into training, validation and test parts. With x the values, NaN at
    gaps, last[t] the last observed value up to t, and level[t] the mean of the values in the last
    `season` time steps up to t, the inputs of a time step are

        (x[t] - level[t-1]) and (x[t] - last[t-1]), standardized; 0 where missing
        1 where x[t] is missing, else 0
        the logarithm of the number of time steps since the previous observation
        sine and cosine of the position in the season, if `calendar` and the season is 2 or more

    and its targets, for h = 1 to horizon,

        (x[t+h] - last[t]) / target_scale, NaN where x[t+h] is missing or in a later part than t

    Inputs and targets are relative to what is known at t, so that a trend stays in the range of the
    training data. Adding last[t] to forecast and target changes no error, so `target_scale` times
    an RMSE or MAE is in the data's own units. Means, deviations and `target_scale`, the root mean
    square of x[t+h] - last[t], come from the training part only.

    A training window is at a random position of the training part. An evaluation set is one
    example: the series up to the end of its part, of which the time steps t in the part are scored,
    as the origins of a walk-forward evaluation with fixed parameters. Baselines are the seasonal
    naive forecast and the last value.

    Attributes:
      path: a CSV file with a header; None takes `series`.
      column: name of the column of values; None is the only column besides the date.
      date: name of the column of dates; None detects it.
      series: used if `path` is None: `"co2"`, weekly at Mauna Loa, 1958 to 2001, 59 gaps, in ppm
        (from statsmodels); or `"temperature"`, daily maxima of Seattle, 2012 to 2015, in degrees
        Celsius (from vega_datasets).
      horizon: time steps ahead.
      season: time steps per season; None is 52 and 365 for the built-in series, and depends on the
        dates for others: a day of hours, a week of days, a year of weeks, months or quarters, or 1
        without dates.
      length: time steps of a training window.
      batch_size: windows per batch.
      valid, test: fractions of the time steps in the validation and the test part, at the end.
      calendar: whether the position in the season is an input.

    Raises:
      ValueError: a setting is out of range; DataError if the series is too short for it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "waves.csv")
    ...     _ = file.write_text("height\\n" + "\\n".join(str(t % 3 + t / 9) for t in range(90)))
    ...     data = Forecasting(file, horizon=2, season=3, length=12, batch_size=4).load(seed=0)
    >>> batch = data.train_batch(0)
    >>> batch.inputs.shape, batch.targets.shape
    ((4, 12, 6), (4, 12, 2))
    """

    path: Path | None = None
    column: str | None = None
    date: str | None = None
    series: Literal["co2", "temperature"] = "co2"
    horizon: int = 13
    season: int | None = None
    length: int = 104
    batch_size: int = 32
    valid: float = 0.15
    test: float = 0.15
    calendar: bool = True

    def __post_init__(self):
        require_positive_int(horizon=self.horizon, length=self.length, batch_size=self.batch_size)
        if self.season is not None:
            require_positive_int(season=self.season)
        require_one_of("series", self.series, _BUILT_IN)
        for name in ("valid", "test"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be a fraction in (0, 1), got {getattr(self, name)}; use 0.15"
                )
        if self.valid + self.test >= 1:
            raise ValueError(
                f"valid + test must be < 1, got {self.valid} + {self.test}; lower one of them"
            )

    def load(self, seed: int) -> TaskData:
        """Reads the series. `seed` draws the positions of training windows."""
        split = self.read_split()
        values, season = split.series.values, split.season
        train, valid = split.boundaries
        spread = float(np.nanstd(values[:train]))
        last = last_observed(values)
        level = trailing_mean(values, season)
        inputs = np.concatenate(
            [
                standardize(values - previous(level), train, spread),
                standardize(values - previous(last), train, spread),
                np.isnan(values)[:, None],
                np.log(steps_since_observed(values))[:, None],
                *(
                    [seasonal_features(split.series, season)]
                    if self.calendar and season > 1
                    else []
                ),
            ],
            axis=1,
        ).astype(np.float32)
        ahead = self._ahead(values)
        target_scale = float(np.sqrt(np.nanmean(self._within(ahead, 0, train) ** 2)))
        targets = (ahead / target_scale).astype(np.float32)
        eval_sets = {
            name: functools.partial(
                _walk_forward, inputs[:end], self._within(targets[:end], start, end)
            )
            for name, start, end in (
                ("valid", train, valid),
                ("test", valid, len(values)),
            )
        }
        return TaskData(
            loss="squared",
            metrics=("rmse", "mae"),
            out_features=self.horizon,
            train_batch=functools.partial(
                self._windows, inputs[:train], self._within(targets[:train], 0, train), seed
            ),
            eval_sets=eval_sets,
            baselines=self.naive,
            in_features=inputs.shape[1],
            autoregressive=True,
            target_scale=target_scale,
            fingerprint=fingerprint(values, inputs, targets, f"{split.boundaries} {season}"),
        )

    def naive(self) -> dict[str, dict[str, float]]:
        """Returns RMSE and MAE of the naive forecasts on the scored entries of the test part."""
        split = self.read_split()
        values = split.series.values
        actual = self._within(self._actual(values), split.boundaries[1], len(values))
        return {
            "seasonal naive": rmse_mae(seasonal_naive(values, self.horizon, split.season), actual),
            "last value": rmse_mae(last_value(values, self.horizon), actual),
        }

    def read_split(self) -> "SeriesSplit":
        """Reads the series and returns it with its season and the boundaries of its parts.

        Raises:
          DataError: the series is too short or constant, or a part has no value to forecast.
        """
        if self.path is not None:
            path, column, season = Path(self.path), self.column, None
            series = read_series(path, column, self.date)
        else:
            package, parts, column, season = _BUILT_IN[self.series]
            path = package_data_path(package, *parts)
            series = read_series(path, column)
        length = len(series.values)
        season = self.season or season or default_season(series.days)
        boundaries = (int(length * (1 - self.valid - self.test)), int(length * (1 - self.test)))
        split = SeriesSplit(path, series, season, boundaries)
        if boundaries[0] < self.length + self.horizon:
            raise data_error(
                path,
                f"must have >= length + horizon = {self.length + self.horizon} time steps to train "
                f"on, got {boundaries[0]} of {length}; lower length or horizon",
            )
        ahead = self._ahead(series.values)
        starts, ends = (0, *boundaries), (*boundaries, length)
        for name, start, end in zip(("training", "validation", "test"), starts, ends, strict=True):
            if np.isnan(self._within(ahead, start, end)).all():
                raise data_error(
                    path,
                    f"must have a value to forecast in its {name} part, time steps {start} to "
                    f"{end - 1}, got none; lower horizon or move the parts",
                    column=series.column,
                )
        self._check_varies(split)
        return split

    def _check_varies(self, split: "SeriesSplit") -> None:
        known = split.series.values[: split.boundaries[0]]
        if np.nanmax(known) == np.nanmin(known):
            reason = "must vary in its training part, but is constant; choose another column"
        elif not 1e-100 < np.nanmax(np.abs(known)) < 1e100:
            reason = "must be in 1e-100 to 1e100 to be squared, but is not; change its units"
        else:
            return
        raise data_error(split.path, reason, column=split.series.column)

    def _ahead(self, values: np.ndarray) -> np.ndarray:
        """values[t+h] - last[t] for h = 1 to horizon."""
        return self._actual(values) - last_observed(values)[:, None]

    def _actual(self, values: np.ndarray) -> np.ndarray:
        """values[t+h] for h = 1 to horizon: (time, horizon), NaN beyond the end."""
        padded = np.concatenate([values, np.full(self.horizon, np.nan)])
        return np.lib.stride_tricks.sliding_window_view(padded[1:], self.horizon)

    def _within(self, ahead: np.ndarray, start: int, end: int) -> np.ndarray:
        """`ahead` (time, horizon), NaN unless origin and target are in time steps [start, end)."""
        origin = np.arange(len(ahead))[:, None]
        target = origin + np.arange(1, self.horizon + 1)[None]
        return np.where((origin >= start) & (target < end), ahead, np.nan).astype(ahead.dtype)

    def _windows(self, inputs: np.ndarray, targets: np.ndarray, seed: int, n: int) -> Batch:
        positions = len(inputs) - self.length + 1
        start = rng_for(RngStream.TRAIN, seed, n).integers(positions, size=self.batch_size)
        steps = start[:, None] + np.arange(self.length)
        return Batch(inputs[steps], targets[steps])


class SeriesSplit(NamedTuple):
    """A series to forecast and how it is split.

    Attributes:
      path: its file.
      series: the values.
      season: time steps per season.
      boundaries: where the training part and the validation part end.
    """

    path: Path
    series: Series
    season: int
    boundaries: tuple[int, int]


def _walk_forward(inputs: np.ndarray, targets: np.ndarray) -> Iterator[Batch]:
    yield Batch(inputs[None], targets[None])
