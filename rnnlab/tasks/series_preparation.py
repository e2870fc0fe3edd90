"""Inputs and targets of forecasting, and forecasts in the data's own units and dates."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from rnnlab.errors import DataError
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.forecast_table import extend, forecast_rows, summarize
from rnnlab.tasks.predictions import RUN_DATA, Outputs, Predictions, require_run_data
from rnnlab.tasks.readers.series import Series, SeriesColumns, read_series
from rnnlab.tasks.reference.naive import last_observed, last_value
from rnnlab.tasks.series_features import (
    Standardization,
    ahead,
    fit_standardization,
    previous,
    seasonal_features,
    steps_since_observed,
    trailing_mean,
    within,
)
from rnnlab.tasks.window_scaling import WindowScaling, window_inputs, window_scaling

MAX_PREDICTED_SERIES = 64
"""Series per batch of a prediction."""

MIN_HISTORY = 24
"""Observed values, or those of a season if it is shorter, before the first target of a series that
is scaled by its own past."""


@dataclass(frozen=True, eq=False)
class SeriesPreparation:
    """Columns, season, means and scales of series, fixed by their training part.

    Attributes:
      columns: what the columns of a table are.
      value_names: names of the columns to forecast.
      names: of the series, see `Series`.
      horizon: time steps ahead.
      season: time steps per season.
      calendar: whether the position in the season is an input.
      origin: (2,) the first two dates; None without dates.
      days: mean days per time step; None without dates.
      levels, changes: (series, columns, 2) mean and scale of a value minus its trailing mean, and
        minus the last observed value.
      covariates, known_covariates: (covariates, 2) means and scales.
      target_scales: (series, columns) root mean square of x[t+h] - last[t].
      normalization: what inputs and targets are relative to, see `Forecasting`.
      test: the run's own series and where their test part starts.
    """

    columns: SeriesColumns
    value_names: tuple[str, ...]
    names: tuple[str, ...]
    horizon: int
    season: int
    calendar: bool
    origin: np.ndarray | None
    days: float | None
    levels: np.ndarray
    changes: np.ndarray
    covariates: np.ndarray
    known_covariates: np.ndarray
    target_scales: np.ndarray
    normalization: Literal["series", "window", "difference", "seasonal"]
    test: tuple[Series, int] | None = field(default=None, repr=False, metadata=RUN_DATA)

    @classmethod
    def fit(
        cls,
        series: Series,
        columns: SeriesColumns,
        train: int,
        horizon: int,
        season: int,
        calendar: bool,
        normalization: Literal["series", "window", "difference", "seasonal"],
    ) -> "SeriesPreparation":
        """Returns the preparation by the first `train` time steps.

        A series of a panel that has too few values there gets the medians of the other series.
        """
        shape = series.values.shape[0], series.values.shape[2]
        levels, changes = np.full((*shape, 2), np.nan), np.full((*shape, 2), np.nan)
        scales = np.full(shape, np.nan)
        for index in np.ndindex(shape):
            values = series.values[index[0], :, index[1]]
            known = values[:train][~np.isnan(values[:train])]
            targets = within(_targets(values, horizon), horizon, 0, train)
            if len(known) < 2 or known.max() == known.min():
                continue
            spread = float(np.nanstd(values[:train]))
            level, change = _relative_values(values, season)
            levels[index] = fit_standardization(level[:train], spread)
            changes[index] = fit_standardization(change[:train], spread)
            scales[index] = np.sqrt(np.nanmean(targets**2))
        return cls(
            columns=replace(columns, values=", ".join(series.columns)),
            value_names=series.columns,
            names=series.names,
            horizon=horizon,
            season=season,
            calendar=calendar and season > 1,
            origin=None if series.dates is None else series.dates[:2],
            days=series.days,
            levels=_with_medians(levels),
            changes=_with_medians(changes),
            covariates=_covariate_scales(series.covariates[:, :train]),
            known_covariates=_covariate_scales(series.known_covariates[:, :train]),
            target_scales=_with_medians(scales),
            normalization=normalization,
        )

    def inputs(self, series: Series) -> np.ndarray:
        """Returns the inputs (series, time, in_features) of every time step, as float32."""
        index = self._index(series)
        count = series.values.shape[1]
        shared = []
        if self.calendar:
            season = seasonal_features(series.dates, series.days, self.season, self.origin, count)
            shared.append(season)
        rows = []
        for k, number in enumerate(index):
            features = []
            for c in range(series.values.shape[2]):
                features.append(self._value_inputs(series.values[k, :, c], number, c))
            for c, scale in enumerate(self.covariates):
                values = series.covariates[k, :, c]
                features.append(Standardization(*scale).apply(values)[:, None])
            for c, scale in enumerate(self.known_covariates):
                values = series.known_covariates[k, :, c]
                features.append(Standardization(*scale).apply(ahead(values, self.horizon)))
            rows.append(np.concatenate([*features, *shared], axis=1))
        return np.stack(rows).astype(np.float32)

    def targets(self, series: Series) -> np.ndarray:
        """Returns (x[t+h] - base) / scale: (series, time, columns * horizon), float32."""
        base, scale = self.references(series)
        future = np.stack(
            [
                np.stack([ahead(x[:, c], self.horizon) for c in range(x.shape[1])], axis=1)
                for x in series.values
            ]
        )
        targets = (future - base) / scale[..., None]
        return targets.reshape(*targets.shape[:2], -1).astype(np.float32)

    def references(self, series: Series) -> tuple[np.ndarray, np.ndarray]:
        """Returns what the forecasts from each time step are relative to, and their scale.

        Returns:
          base (series, time, columns, horizon) and scale (series, time, columns), both in the
          data's units. Where a series has no spread yet, its scale is `target_scales`.
        """
        shape = (*series.values.shape[:2], series.values.shape[2])
        base, scale = np.empty((*shape, self.horizon)), np.empty(shape)
        for k, number in enumerate(self._index(series)):
            for c in range(shape[2]):
                values, constant = series.values[k, :, c], self.target_scales[number, c]
                if self.normalization == "series":
                    base[k, :, c], scale[k, :, c] = last_value(values, self.horizon), constant
                else:
                    found = self._window_scaling(values)
                    base[k, :, c] = found.base
                    scale[k, :, c] = np.where(np.isnan(found.spread), constant, found.spread)
        return base, scale

    def relative_scales(self, series: Series) -> np.ndarray:
        """Returns what 1 in a target is in multiples of `target_scales`, of the targets' shape."""
        constant = self.target_scales[self._index(series)][:, None]
        return np.repeat(self.references(series)[1] / constant, self.horizon, axis=-1)

    def has_history(self, series: Series, train: int) -> np.ndarray:
        """Returns where targets are scaled by enough of their own past, of the targets' shape.

        In the first time steps of a series the spread of its past means little.

        Args:
          series: the data.
          train: time steps of the training part, of which at most half have no target.
        """
        if self.normalization == "series":
            shape = (*series.values.shape[:2], series.values.shape[2] * self.horizon)
            return np.ones(shape, bool)
        observed = np.cumsum(~np.isnan(series.values), axis=1)
        history = min(self.season, MIN_HISTORY, train // 2)
        return np.repeat(observed > history, self.horizon, axis=-1)

    def _window_scaling(self, values: np.ndarray) -> WindowScaling:
        return window_scaling(values, self.horizon, self.season, self.normalization)

    def _value_inputs(self, values: np.ndarray, number: int, column: int) -> np.ndarray:
        """The inputs (time, features) from the values of one column of series `number`."""
        if self.normalization != "series":
            return window_inputs(values, self._window_scaling(values))
        level, change = _relative_values(values, self.season)
        features = [
            Standardization(*self.levels[number, column]).apply(level),
            Standardization(*self.changes[number, column]).apply(change),
            np.isnan(values),
            np.log(steps_since_observed(values)),
        ]
        return np.stack(features, axis=1)

    def predict(self, outputs: Outputs, source: Any, horizon: int | None) -> Predictions:
        """Returns forecasts of the test part, or of new data after its first season, and beyond.

        Args:
          outputs: the model.
          source: None is the run's own series; else a file or a `pandas.DataFrame` with the columns
            of the training data, or an array (time,) or (time, columns) of one series without
            dates. The position in the season follows from the dates; without dates the series
            starts a season.
          horizon: steps beyond the model's own are forecast from its forecasts.
        """
        if source is None:
            return self.forecast(outputs, *require_run_data(self.test), horizon)
        if isinstance(source, np.ndarray | list | tuple):
            source = np.asarray(source, np.float64)
            values = source.reshape(1, len(source), -1).astype(np.float64)
            none = np.zeros((*values.shape[:2], 0))
            series = Series(values, self.value_names, none, none)
        else:
            series = read_series(source, self.columns, names_options=False)
        return self.forecast(outputs, series, self.season, horizon)

    def forecast(
        self, outputs: Outputs, series: Series, start: int, horizon: int | None
    ) -> Predictions:
        """Returns forecasts beyond the last observation, and of the time steps before it.

        The latter are made from every `horizon`-th time step, so that each is forecast once, up to
        the last observation.

        Args:
          series: the data.
          start: the first time step from which earlier ones are forecast.
          horizon: see `predict`.
        """
        horizon = self.horizon if horizon is None else horizon
        if horizon < 1:
            raise ValueError(f"horizon must be >= 1, got {horizon}; use {self.horizon}")
        self._check(series)
        observed = ~np.isnan(series.values).all(axis=(0, 2))
        end = len(observed) - 1 - int(observed[::-1].argmax())
        step = min(horizon, self.horizon)
        origins = range(end - step, max(start, 1) - 2, -step)[::-1]
        made = self._forecasts(outputs, series)
        parts = [forecast_rows(series, t, made[:, t, :, :step]) for t in origins]
        future = made[:, end]
        extended = series
        while future.shape[-1] < horizon:
            extended = extend(extended, end, future)
            last = end + future.shape[-1]
            future = np.concatenate([future, self._forecasts(outputs, extended)[:, last]], axis=-1)
        parts.append(forecast_rows(series, end, future[..., :horizon]))
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        summary = summarize(columns, horizon)
        future_covariates = series.known_covariates[:, end + 1 : end + 1 + horizon]
        if self.known_covariates.size and (
            future_covariates.shape[1] < horizon or np.isnan(future_covariates).any()
        ):
            summary += " Missing covariates after the last value are replaced by their mean."
        return Predictions("forecast", columns, summary)

    def _forecasts(self, outputs: Outputs, series: Series) -> np.ndarray:
        """Forecasts from every time step: (series, time, columns, horizon), in the data's units."""
        inputs = self.inputs(series)
        shape = (*series.values.shape[:2], series.values.shape[2], self.horizon)
        raw = np.empty((*shape[:2], shape[2] * shape[3]))
        for first in range(0, len(inputs), MAX_PREDICTED_SERIES):
            part = slice(first, first + MAX_PREDICTED_SERIES)
            unknown = np.full((*inputs[part].shape[:2], raw.shape[-1]), np.nan, np.float32)
            raw[part] = outputs(Batch(inputs[part], unknown))
        base, scale = self.references(series)
        return base + raw.reshape(shape) * scale[..., None]

    def _index(self, series: Series) -> list[int]:
        """The number of each series in the training data; that of the medians for new ones."""
        known = {name: k for k, name in enumerate(self.names)}
        return [known.get(name, len(self.names)) for name in series.names]

    def _check(self, series: Series) -> None:
        """Raises if the columns or time steps of new data differ from the training data's."""
        if series.values.shape[2] != len(self.value_names):
            raise DataError(
                f"the data must have the columns {', '.join(self.value_names)}, got "
                f"{series.values.shape[2]} columns; pass {len(self.value_names)}"
            )
        if (series.days is None) != (self.days is None):
            have = "dates" if self.days is not None else "no dates"
            raise DataError(f"the data must have {have}, as the training data; change the columns")
        if series.days is not None and abs(series.days / self.days - 1) > 0.02:
            raise DataError(
                f"the data must have a time step of {self.days:.4g} days, as the training data, "
                f"got {series.days:.4g}; resample it"
            )


def _relative_values(values: np.ndarray, season: int) -> tuple[np.ndarray, np.ndarray]:
    """The values minus the trailing mean, and minus the last observed value, of the step before."""
    level = values - previous(trailing_mean(values, season))
    return level, values - previous(last_observed(values))


def _targets(values: np.ndarray, horizon: int) -> np.ndarray:
    return ahead(values, horizon) - last_observed(values)[:, None]


def _with_medians(scales: np.ndarray) -> np.ndarray:
    """Scales by series, followed by their medians, which also replace missing ones."""
    medians = np.nanmedian(scales, axis=0, keepdims=True)
    return np.concatenate([np.where(np.isnan(scales), medians, scales), medians])


def _covariate_scales(covariates: np.ndarray) -> np.ndarray:
    """Mean and deviation (covariates, 2) over all series; 0 and 1 where nothing varies."""
    scales = np.zeros((covariates.shape[-1], 2))
    for k in range(covariates.shape[-1]):
        known = covariates[..., k][~np.isnan(covariates[..., k])]
        varies = known.size and known.max() > known.min()
        scales[k] = (known.mean(), known.std()) if varies else (0.0, 1.0)
    return scales
