"""Forecasting of a series with gaps, evaluated walk-forward against naive forecasts."""

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from rnnlab.optional import package_data_path
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.batching.padding import split_batches
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.data_files import save_table
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.series import Series, SeriesColumns, read_series
from rnnlab.tasks.readers.table import read_table
from rnnlab.tasks.reference.naive import last_value, rmse_mae, seasonal_naive
from rnnlab.tasks.series_description import describe_series
from rnnlab.tasks.series_features import ahead, default_season, within
from rnnlab.tasks.series_preparation import SeriesPreparation
from rnnlab.validation import require_one_of, require_positive_int

# Package, its file, the column of values, time steps per season.
_BUILT_IN = {
    "co2": ("statsmodels", ("datasets", "co2", "co2.csv"), "co2", 52),
    "temperature": ("vega_datasets", ("_data", "seattle-weather.csv"), "temp_max", 365),
}


@dataclass(frozen=True)
class Forecasting:
    """Forecast the next `horizon` values of one or more series at every time step.

    The data is split by time into training, validation and test parts. With x the values, NaN at
    gaps, last[t] the last observed value up to t, and level[t] the mean of the values in the last
    `season` time steps up to t, the inputs of a time step are

        (x[t] - level[t-1]) and (x[t] - last[t-1]), standardized; 0 where missing
        1 where x[t] is missing, else 0
        the logarithm of the number of time steps since the previous observation
        each covariate, standardized; 0 where missing
        each known covariate of the next `horizon` time steps, standardized; 0 where missing
        sine and cosine of the position in the season, if `calendar` and the season is 2 or more

    and its targets, for h = 1 to horizon,

        (x[t+h] - last[t]) / target_scale, NaN where x[t+h] is missing or in a later part than t

    Inputs and targets are relative to what is known at t, so that a trend stays in the range of the
    training data. Adding last[t] to forecast and target changes no error, so `target_scale` times
    an RMSE or MAE is in the data's own units. Means, deviations and `target_scale`, the root mean
    square of x[t+h] - last[t], come from the training part only.

    Several columns of values are several of the first four inputs, and targets, at each time step.
    The series of a panel are examples of their own, on one calendar. Every column of every series
    then has its own means and scales, and errors are in multiples of its `target_scale`.

    A training window is at a random position of the training part. An evaluation set is one
    example: the series up to the end of its part, of which the time steps t in the part are scored,
    as the origins of a walk-forward evaluation with fixed parameters. Baselines are the seasonal
    naive forecast and the last value.

    Attributes:
      path: a CSV file with a header, or a Parquet file; None takes `series`.
      column: name of the column of values, or several separated by commas; None is the only column
        that is nothing else.
      date: name of the column of dates; None detects it.
      date_format: of the dates, as for `datetime.strptime`; None detects it.
      series_id: name of the column that names the series of a line; None: there is one series.
      covariates: names of columns that are inputs only, separated by commas.
      known_covariates: names of columns that are inputs only and whose values are known `horizon`
        time steps ahead, such as holidays, separated by commas. Lines after the last value of the
        series may hold them for forecasts beyond it.
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
    date_format: str | None = None
    series_id: str | None = None
    covariates: str | None = None
    known_covariates: str | None = None

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

    @classmethod
    def from_frame(
        cls, frame: Any, *, path: Path | str | None = None, **settings: Any
    ) -> "Forecasting":
        """Returns the task for a `pandas.DataFrame` in memory, which it writes to a file.

        A run reads its data again when it is resumed, verified or used for predictions, often in
        another process. So the frame is written once, completely or not at all, to a CSV file whose
        name is a digest of its content. A file with the same content is not written again.

        Args:
          frame: its columns, and its index if that has a name or holds dates; or a
            `pandas.Series`, or an array (time,) of values without dates.
          path: the `.csv` file to write; None is `runs/data/DIGEST.csv`.
          **settings: other attributes of the task.

        Raises:
          ValueError: it is not a frame, or `path` has other data.
          InsufficientResourcesError: the file could not be written.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     task = Forecasting.from_frame(np.array([1.5, np.nan]), path=Path(folder, "a.csv"))
        ...     task.path.read_text()
        'value\\n1.5\\n""\\n'
        """
        if isinstance(frame, list):
            frame = np.asarray(frame, np.float64)
        if getattr(frame, "ndim", 0) == 1 and hasattr(frame, "to_frame"):
            frame = frame.to_frame(frame.name if frame.name is not None else "value")
        return cls(path=save_table(read_table(frame), path), **settings)

    def load(self, seed: int) -> TaskData:
        """Reads the series. `seed` draws the positions of training windows."""
        split = self.read_split()
        series, (train, valid), end = split.series, split.boundaries, split.end
        prepared = self._prepare(split)
        inputs, targets = prepared.inputs(series), prepared.targets(series)
        eval_sets = {
            name: functools.partial(
                split_batches,
                Batch(inputs[:, :stop], within(targets[:, :stop], self.horizon, start, stop)),
                min(self.batch_size, len(inputs)),
            )
            for name, start, stop in (("valid", train, valid), ("test", valid, end))
        }
        scored = within(targets[:, :train], self.horizon, 0, train)
        single = _is_single(series)
        text = f"{split.boundaries} {split.season}"
        arrays = (series.values, inputs, targets)
        # A single series keeps the digest that it had before there were panels.
        arrays = (arrays[0][0, :, 0], arrays[1][0], arrays[2][0]) if single else arrays
        return TaskData(
            loss="squared",
            metrics=("rmse", "mae"),
            out_features=targets.shape[-1],
            train_batch=functools.partial(
                self._windows, inputs[:, :train], scored, self._positions(scored), seed
            ),
            eval_sets=eval_sets,
            baselines=functools.partial(self._naive, split, prepared.target_scales),
            in_features=inputs.shape[-1],
            autoregressive=True,
            target_scale=float(prepared.target_scales[0, 0]) if single else 1.0,
            fingerprint=fingerprint(*arrays, text),
            preparation=replace(prepared, test=(series, valid)),
            notes=series.notes if self.path is None else (*series.notes, self._describe(split)),
        )

    def naive(self) -> dict[str, dict[str, float]]:
        """Returns RMSE and MAE of the naive forecasts on the scored entries of the test part."""
        split = self.read_split()
        return self._naive(split, self._prepare(split).target_scales)

    def _naive(self, split: "SeriesSplit", scales: np.ndarray) -> dict[str, dict[str, float]]:
        values = split.series.values
        names = ("seasonal naive", "last value")
        made: dict[str, list[np.ndarray]] = {name: [] for name in ("actual", *names)}
        for k, c in np.ndindex(values.shape[0], values.shape[2]):
            x = values[k, : split.end, c]
            scale = 1.0 if _is_single(split.series) else scales[k, c]
            actual = within(ahead(x, self.horizon), self.horizon, split.boundaries[1], split.end)
            # Values before the first observation, and it, cannot be forecast.
            actual = np.where(np.isnan(last_value(x, self.horizon)), np.nan, actual)
            made["actual"].append(actual / scale)
            made[names[0]].append(seasonal_naive(x, self.horizon, split.season) / scale)
            made[names[1]].append(last_value(x, self.horizon) / scale)
        actual = np.stack(made["actual"])
        return {name: rmse_mae(np.stack(made[name]), actual) for name in names}

    def _prepare(self, split: "SeriesSplit") -> SeriesPreparation:
        train = split.boundaries[0]
        return SeriesPreparation.fit(
            split.series, split.columns, train, self.horizon, split.season, self.calendar
        )

    def read_split(self) -> "SeriesSplit":
        """Reads the series and returns it with its season and the boundaries of its parts.

        Raises:
          DataError: the series is too short or constant, or a part has no value to forecast.
        """
        season = None
        if self.path is not None:
            path = Path(self.path)
            columns = SeriesColumns(
                *(self.column, self.date, self.date_format, self.series_id),
                *(self.covariates, self.known_covariates),
            )
        else:
            package, parts, column, season = _BUILT_IN[self.series]
            path, columns = package_data_path(package, *parts), SeriesColumns(column)
        series = read_series(path, columns)
        season = self.season or season or default_season(series.days)
        end = length = series.values.shape[1]
        if self.known_covariates is not None:  # lines after the last value
            end -= int((~np.isnan(series.values)).any(axis=(0, 2))[::-1].argmax())
        boundaries = (int(end * (1 - self.valid - self.test)), int(end * (1 - self.test)))
        split = SeriesSplit(path, columns, series, season, boundaries, end)
        if boundaries[0] < self.length + self.horizon:
            raise data_error(
                path,
                f"must have >= length + horizon = {self.length + self.horizon} time steps to train "
                f"on, got {boundaries[0]} of {length}; lower length or horizon",
            )
        starts, ends = (0, *boundaries), (*boundaries, end)
        for name, start, stop in zip(("training", "validation", "test"), starts, ends, strict=True):
            for c, column in enumerate(series.columns):
                if not any(self._has_target(x[:, c], start, stop) for x in series.values):
                    raise data_error(
                        path,
                        f"must have a value to forecast in its {name} part, time steps {start} to "
                        f"{stop - 1}, got none; lower horizon or move the parts",
                        column=column,
                    )
        self._check_varies(split)
        return split

    def _describe(self, split: "SeriesSplit") -> str:
        names = (self.covariates, self.known_covariates)
        return describe_series(
            split.path,
            split.series,
            (*split.boundaries, split.end),
            horizon=self.horizon,
            length=self.length,
            season=split.season,
            is_detected=self.season is None,
            inputs=tuple(name for name in names if name is not None),
        )

    def _has_target(self, values: np.ndarray, start: int, end: int) -> bool:
        targets = ahead(values, self.horizon) - last_value(values, self.horizon)
        return not np.isnan(within(targets, self.horizon, start, end)).all()

    def _check_varies(self, split: "SeriesSplit") -> None:
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

    def _positions(self, targets: np.ndarray) -> np.ndarray:
        """The numbers of the windows that can be drawn: (series * positions) of one after another.

        A window of a panel has something to forecast.
        """
        count = targets.shape[1] - self.length + 1
        if len(targets) == 1:
            return np.arange(count)
        scored = np.cumsum((~np.isnan(targets)).any(axis=-1), axis=1)
        before = np.pad(scored, ((0, 0), (1, 0)))[:, :count]
        return np.flatnonzero(scored[:, self.length - 1 :] > before)

    def _windows(
        self, inputs: np.ndarray, targets: np.ndarray, positions: np.ndarray, seed: int, n: int
    ) -> Batch:
        drawn = rng_for(RngStream.TRAIN, seed, n).integers(len(positions), size=self.batch_size)
        series, start = np.divmod(positions[drawn], inputs.shape[1] - self.length + 1)
        steps = start[:, None] + np.arange(self.length)
        return Batch(inputs[series[:, None], steps], targets[series[:, None], steps])


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


def _is_single(series: Series) -> bool:
    return series.values.shape[0] * series.values.shape[2] == 1
