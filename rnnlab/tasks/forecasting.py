"""Forecasting a series with gaps, walk-forward, against naive forecasts."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from rnnlab.optional import extra_file
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.data import TRAIN, TaskData, generator
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.readers.csv_series import Series, read_series
from rnnlab.tasks.readers.errors import refuse
from rnnlab.tasks.reference.naive import errors, last_observed, last_value, seasonal_naive
from rnnlab.tasks.series_features import (
    before,
    season_place,
    since_observed,
    standardised,
    trailing_mean,
    usual_season,
)
from rnnlab.validation import require_one_of, require_positive_int

# Package, its file, the value's column, steps a season.
_BUILT_IN = {
    "co2": ("statsmodels", ("datasets", "co2", "co2.csv"), "co2", 52),
    "temperature": ("vega_datasets", ("_data", "seattle-weather.csv"), "temp_max", 365),
}


@dataclass(frozen=True)
class Forecasting:
    """Forecasts the next `horizon` values of a series at every step, from all before.

    The series is split by time into training, validation and test parts. With x the values, NaN at
    gaps, last[t] the newest value up to t, and level[t] the mean of the values within the `season`
    steps up to t, a step's inputs are

        (x[t] - level[t-1]) and (x[t] - last[t-1]), standardised; 0 where missing
        1 where x[t] is missing, else 0
        log of the number of steps since the observation before
        sine and cosine of the place in the season, where `calendar` and it has 2 steps or more

    and its targets, for h = 1 to horizon,

        (x[t+h] - last[t]) / target_scale, NaN where x[t+h] is missing or beyond the origin's part

    Inputs and targets are relative to what is known at t, so that a trend does not lead out of the
    range seen in training; adding last[t] to forecast and target changes no error, so
    `target_scale` times an RMSE or MAE is in the data's own units. Means, deviations and
    `target_scale`, the root mean square of x[t+h] - last[t], come from the training part only.

    A training window stands at a random place of the training part. A held-out set is one row: all
    up to the end of its part, of which the steps t in the part are scored, as the origins of a
    walk-forward evaluation with fixed parameters.

    Attributes:
      path: a CSV file with a header; None takes `series`.
      column: its column of values; None is the only one beside the date.
      date: its column of dates; None looks for one.
      series: `"co2"`, weekly at Mauna Loa, 1958 to 2001, 59 gaps, in ppm (of statsmodels); or
        `"temperature"`, daily maxima of Seattle, 2012 to 2015, in degrees Celsius (of
        vega_datasets). Taken where `path` is None.
      horizon: steps ahead.
      season: steps a season; None is 52 and 365 for the built-in series, else a day of hours, a
        week of days, a year of weeks, months or quarters by the dates, and 1 without.
      length: steps of a training window.
      batch_size: windows a batch.
      valid, test: shares of the steps that are held out, at the end.
      calendar: whether the place in the season is an input.

    Raises:
      ValueError: a setting is out of range, or the series too short for it.

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
                raise ValueError(f"{name} is {getattr(self, name)}; a share in (0, 1) is needed")
        if self.valid + self.test >= 1:
            raise ValueError(
                f"valid and test are {self.valid} and {self.test}; a sum below 1 is needed"
            )

    def load(self, seed: int) -> TaskData:
        """Reads the series. `seed` draws the places of training windows."""
        source = self.source()
        values, season = source.series.values, source.season
        train, valid = source.ends[0], source.ends[1]
        spread = float(np.nanstd(values[:train]))
        last = last_observed(values)
        level = trailing_mean(values, season)
        inputs = np.concatenate(
            [
                standardised(values - before(level), train, spread),
                standardised(values - before(last), train, spread),
                np.isnan(values)[:, None],
                np.log(since_observed(values))[:, None],
                *([season_place(source.series, season)] if self.calendar and season > 1 else []),
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
            fingerprint=fingerprint(values, inputs, targets, f"{source.ends} {season}"),
        )

    def naive(self) -> dict[str, dict[str, float]]:
        """RMSE and MAE of the naive forecasts on the entries scored in the test part."""
        source = self.source()
        values = source.series.values
        actual = self._within(self._actual(values), source.ends[1], len(values))
        return {
            "seasonal naive": errors(seasonal_naive(values, self.horizon, source.season), actual),
            "last value": errors(last_value(values, self.horizon), actual),
        }

    def source(self) -> "Source":
        """The series, its season and where its parts end, checked to be long enough."""
        if self.path is not None:
            path, column, season = Path(self.path), self.column, None
            series = read_series(path, column, self.date)
        else:
            package, parts, column, season = _BUILT_IN[self.series]
            path = extra_file(package, *parts)
            series = read_series(path, column)
        steps = len(series.values)
        season = self.season or season or usual_season(series.days)
        ends = (int(steps * (1 - self.valid - self.test)), int(steps * (1 - self.test)))
        source = Source(path, series, season, ends)
        if ends[0] < self.length + self.horizon:
            raise refuse(
                path,
                f"has {steps} steps, {ends[0]} of them to train on; length + horizon = "
                f"{self.length + self.horizon} are needed there",
            )
        ahead = self._ahead(series.values)
        for name, start, end in zip(
            ("training", "validation", "test"), (0, *ends), (*ends, steps), strict=True
        ):
            if np.isnan(self._within(ahead, start, end)).all():
                raise refuse(
                    path,
                    f"has no value to forecast in its {name} part, steps {start} to {end - 1}",
                    column=series.column,
                )
        self._check_varies(source)
        return source

    def _check_varies(self, source: "Source") -> None:
        known = source.series.values[: source.ends[0]]
        if np.nanmax(known) == np.nanmin(known):
            reason = "is constant in its training part; a series that varies is needed"
        elif not 1e-100 < np.nanmax(np.abs(known)) < 1e100:
            reason = "is too small or too large to be squared; another unit is needed"
        else:
            return
        raise refuse(source.path, reason, column=source.series.column)

    def _ahead(self, values: np.ndarray) -> np.ndarray:
        """values[t+h] - last[t] for h = 1 to horizon."""
        return self._actual(values) - last_observed(values)[:, None]

    def _actual(self, values: np.ndarray) -> np.ndarray:
        """values[t+h] for h = 1 to horizon: (time, horizon), NaN beyond the end."""
        padded = np.concatenate([values, np.full(self.horizon, np.nan)])
        return np.lib.stride_tricks.sliding_window_view(padded[1:], self.horizon)

    def _within(self, ahead: np.ndarray, start: int, end: int) -> np.ndarray:
        """`ahead` (time, horizon), NaN but where origin and target are steps start to end - 1."""
        origin = np.arange(len(ahead))[:, None]
        target = origin + np.arange(1, self.horizon + 1)[None]
        return np.where((origin >= start) & (target < end), ahead, np.nan).astype(ahead.dtype)

    def _windows(self, inputs: np.ndarray, targets: np.ndarray, seed: int, n: int) -> Batch:
        places = len(inputs) - self.length + 1
        start = generator(TRAIN, seed, n).integers(places, size=self.batch_size)
        taken = start[:, None] + np.arange(self.length)
        return Batch(inputs[taken], targets[taken])


class Source(NamedTuple):
    """A series to forecast, from its file: steps a season, ends of training and validation."""

    path: Path
    series: Series
    season: int
    ends: tuple[int, int]


def _walk_forward(inputs: np.ndarray, targets: np.ndarray) -> Iterator[Batch]:
    yield Batch(inputs[None], targets[None])
