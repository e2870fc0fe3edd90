"""Forecasting of a series with gaps, evaluated walk-forward against naive forecasts."""

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rnnlab.tasks.batch import Batch
from rnnlab.tasks.batching.padding import split_batches
from rnnlab.tasks.batching.random_windows import random_windows
from rnnlab.tasks.built_in_series import SERIES
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.data_files import save_table
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.forecast_baselines import classical_scores, missing_note, naive_scores
from rnnlab.tasks.normalization_choice import choose_normalization
from rnnlab.tasks.readers.series import SeriesColumns, read_series
from rnnlab.tasks.readers.table import read_table
from rnnlab.tasks.series_description import describe_series
from rnnlab.tasks.series_features import default_season, within
from rnnlab.tasks.series_preparation import SeriesPreparation
from rnnlab.tasks.series_split import SeriesSplit, validate_split
from rnnlab.validation import require_one_of, require_positive_int

NORMALIZATIONS = ("auto", "window", "difference", "seasonal", "series")
"""What inputs and targets can be relative to."""


@dataclass(frozen=True)
class Forecasting:
    """Forecast the next `horizon` values of one or more series at every time step.

    The data is split by time into training, validation and test parts. With x the values, NaN at
    gaps, the targets of a time step are, for h = 1 to horizon,

        (x[t+h] - base[t, h]) / scale[t], NaN where x[t+h] is missing or in a later part than t

    and its inputs are

        the value, relative to what is known before it, in the same scale; 0 where missing
        1 where x[t] is missing, else 0
        the logarithm of the number of time steps since the previous observation
        each covariate, standardized; 0 where missing
        each known covariate of the next `horizon` time steps, standardized; 0 where missing
        sine and cosine of the position in the season, if `calendar` and the season is 2 or more

    `normalization` defines base and scale. They depend on x[:t+1] only, so that a trend stays in
    the range of the training data:

        "window"      the last observed value; the spread of the last two seasons
        "difference"  the seasonal naive forecast; the same spread
        "seasonal"    a forecast of level, season and trend by the last seasons; the same spread
        "series"      the last observed value; one constant, from the training part

    `rnnlab.tasks.window_scaling` has the definitions. The first three scale every window of every
    series separately: a series may grow, and new series need no statistics. `"series"` standardizes
    also the inputs, by the training part. `"auto"` is the one of the first three that gives a
    linear forecaster the lowest error on the validation part, or `"series"` if that has an error
    lower by more than 5%. A run keeps what it chose.

    Errors are in the data's own units. Several columns of values are several of the value's inputs,
    and targets, at each time step. The series of a panel are examples of their own, on one
    calendar. The errors of each column of each series are then in multiples of its own scale, the
    root mean square of x[t+h] - last[t] in its training part.

    A training window is at a random position of the training part. An evaluation set is one
    example: the series up to the end of its part, of which the time steps t in the part are scored,
    as the origins of a walk-forward evaluation with fixed parameters. Baselines are the seasonal
    naive forecast, the last value, and exponential smoothing (ETS) and ARIMA, fitted to the
    training part.

    Attributes:
      path: a CSV file with a header, or a Parquet file; None takes `series`.
      column: name of the column of values, or several separated by commas; None is the only column
        that is nothing else.
      date: name of the column of dates, or of one of dates and one of hours or times, separated by
        a comma; None detects it.
      date_format: of the dates, as for `datetime.strptime`; None detects it.
      series_id: name of the column that names the series of a line; None: there is one series.
      covariates: names of columns that are inputs only, separated by commas.
      known_covariates: names of columns that are inputs only and whose values are known `horizon`
        time steps ahead, such as holidays, separated by commas. Lines after the last value of the
        series may hold them for forecasts beyond it.
      series: used if `path` is None: `"co2"`, weekly at Mauna Loa, 1958 to 2001, 59 gaps, in ppm
        (from statsmodels); `"temperature"`, daily maxima of Seattle, 2012 to 2015, in degrees
        Celsius (from vega_datasets); or a short one: `"airline"`, monthly passengers in thousands,
        1949 to 1960, and `"seatbelts"`, monthly road casualties in Great Britain, 1969 to 1984
        (from sktime); `"equipment"`, monthly turnover of electrical equipment in the euro area,
        1995 to 2016, `"gdp"`, quarterly of the United States, 1959 to 2009, and `"sunspots"`,
        yearly, 1700 to 2008 (from statsmodels).
      horizon: time steps ahead.
      season: time steps per season; None is that of a built-in series, and depends on the dates
        for others: a day of hours, a week of days, a year of weeks, months or quarters, or 1
        without dates.
      length: time steps of a training window.
      batch_size: windows per batch.
      valid, test: fractions of the time steps in the validation and the test part, at the end.
      calendar: whether the position in the season is an input.
      normalization: `"auto"`, `"window"`, `"difference"`, `"seasonal"` or `"series"`, see above.

    Raises:
      ValueError: a setting is out of range; DataError if the series is too short for it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "waves.csv")
    ...     _ = file.write_text("height\\n" + "\\n".join(str(t % 3 + t / 9) for t in range(90)))
    ...     data = Forecasting(file, horizon=2, season=3, length=12, batch_size=4).load(seed=0)
    >>> batch = data.train_batch(0)
    >>> batch.inputs.shape, batch.targets.shape
    ((4, 12, 8), (4, 12, 2))
    """

    path: Path | None = None
    column: str | None = None
    date: str | None = None
    series: Literal[
        "co2", "temperature", "airline", "equipment", "gdp", "seatbelts", "sunspots"
    ] = "co2"
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
    normalization: Literal["auto", "window", "difference", "seasonal", "series"] = "auto"

    def __post_init__(self):
        require_positive_int(horizon=self.horizon, length=self.length, batch_size=self.batch_size)
        if self.season is not None:
            require_positive_int(season=self.season)
        require_one_of("series", self.series, SERIES)
        require_one_of("normalization", self.normalization, NORMALIZATIONS)
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
        prepare = functools.partial(self._prepare, split)
        normalization, chosen = self.normalization, {}
        if normalization == "auto":
            normalization = choose_normalization(split, prepare)
            chosen = {"normalization": normalization}
        prepared = prepare(normalization)
        inputs, targets = prepared.inputs(series), prepared.targets(series)
        eval_sets = {
            name: functools.partial(
                split_batches,
                Batch(
                    inputs[:, :stop],
                    within(targets[:, :stop], self.horizon, start, stop),
                    example=np.arange(len(inputs), dtype=np.int32),
                ),
                min(self.batch_size, len(inputs)),
            )
            for name, start, stop in (("valid", train, valid), ("test", valid, end))
        }
        has_history = prepared.has_history(series, train)
        scored = np.where(has_history, targets, np.float32(np.nan))[:, :train]
        scored = within(scored, self.horizon, 0, train)
        is_scaled = normalization != "series"
        relative_scales = prepared.relative_scales(series) if is_scaled else None
        single = split.is_single
        text = f"{split.boundaries} {split.season}" + f" {normalization}" * is_scaled
        arrays = (series.values, inputs, targets)
        # A single series keeps the digest that it had before there were panels.
        arrays = (arrays[0][0, :, 0], arrays[1][0], arrays[2][0]) if single else arrays
        return TaskData(
            loss="squared",
            metrics=("rmse", "mae"),
            out_features=targets.shape[-1],
            train_batch=random_windows(
                inputs[:, :train],
                scored,
                self.length,
                self.batch_size,
                seed,
                # Those of a single series that is scaled as a whole may have nothing to forecast.
                every_position=len(targets) == 1 and not is_scaled,
            ),
            eval_sets=eval_sets,
            baselines=functools.partial(self._baselines, split),
            in_features=inputs.shape[-1],
            autoregressive=True,
            target_scale=float(prepared.target_scales[0, 0]) if single else 1.0,
            relative_scales=functools.partial(_of_batch, relative_scales) if is_scaled else None,
            fingerprint=fingerprint(*arrays, text),
            preparation=replace(prepared, test=(series, valid)),
            notes=self._notes(split, normalization),
            chosen_settings=chosen,
        )

    def naive(self) -> dict[str, dict[str, float]]:
        """Returns RMSE and MAE of the naive forecasts on the scored entries of the test part."""
        split = self.read_split()
        return naive_scores(split, self.horizon, self._error_scales(split))

    def _baselines(self, split: SeriesSplit) -> dict[str, dict[str, float]]:
        scales = self._error_scales(split)
        return naive_scores(split, self.horizon, scales) | classical_scores(
            split, self.horizon, scales
        )

    def _error_scales(self, split: SeriesSplit) -> np.ndarray:
        """Divisors of errors, (series, columns): 1 for one column, whose errors keep its units."""
        count = len(split.series.values)
        scales = self._prepare(split, "series").target_scales[:count]
        return np.ones_like(scales) if split.is_single else scales

    def _prepare(self, split: SeriesSplit, normalization: str) -> SeriesPreparation:
        return SeriesPreparation.fit(
            split.series,
            split.columns,
            split.boundaries[0],
            self.horizon,
            split.season,
            self.calendar,
            normalization,
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
            built_in = SERIES[self.series]
            path, season = built_in.path(), built_in.season
            columns = SeriesColumns(built_in.column, date_format=built_in.date_format)
        series = read_series(path, columns)
        season = self.season or season or default_season(series.days)
        end = series.values.shape[1]
        if self.known_covariates is not None:  # lines after the last value
            end -= int((~np.isnan(series.values)).any(axis=(0, 2))[::-1].argmax())
        boundaries = (int(end * (1 - self.valid - self.test)), int(end * (1 - self.test)))
        split = SeriesSplit(path, columns, series, season, boundaries, end)
        validate_split(split, self.length, self.horizon)
        return split

    def _notes(self, split: SeriesSplit, normalization: str) -> tuple[str, ...]:
        notes = split.series.notes
        if self.path is not None:
            names = (self.covariates, self.known_covariates)
            description = describe_series(
                split.path,
                split.series,
                (*split.boundaries, split.end),
                horizon=self.horizon,
                length=self.length,
                season=split.season,
                is_detected=self.season is None,
                inputs=tuple(name for name in names if name is not None),
                normalization=normalization,
            )
            notes = (*notes, description)
        missing = missing_note(split)
        return notes if missing is None else (*notes, missing)


def _of_batch(scales: np.ndarray, batch: Batch) -> np.ndarray:
    """The relative scales of the targets of an evaluation batch."""
    return scales[batch.example, : batch.inputs.shape[1]]
