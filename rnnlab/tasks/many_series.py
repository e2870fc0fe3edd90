"""Forecasts of many series by one model: windows that are scaled by their own past."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from rnnlab.datasets import dataset_files
from rnnlab.heads import Head, Quantiles, StudentT
from rnnlab.tasks.batch import Batch, last_steps
from rnnlab.tasks.batching.padding import split_batches
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.wide import read_wide_series
from rnnlab.tasks.reference import interval_forecasts
from rnnlab.tasks.reference.forecast_scores import Forecast, Outcome, seasonal_scale
from rnnlab.tasks.reference.naive import seasonal_naive
from rnnlab.validation import require_one_of, require_positive_int

LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
"""Levels of the forecast quantiles, among them the ends of the central 95% interval."""


class Window(NamedTuple):
    """A window of a series, with what is known at each of its time steps.

    Attributes:
      inputs: (time, in_features).
      naive: (time, horizon), the seasonal naive forecast from each time step.
      scale: the size by which the values are divided.
    """

    inputs: np.ndarray
    naive: np.ndarray
    scale: float


@dataclass(frozen=True)
class ManySeries:
    """Forecast many series with one model, with quantiles or a distribution of every hour ahead.

    The default data are the 414 hourly series of the M4 competition: the last 48 hours of the
    training part choose the best step, and the official 48 hours after it are the test part.

    A window has two parts of `context` time steps. Its values are divided by the mean absolute
    seasonal difference of all values before the second part, and inputs are the inverse hyperbolic
    sine of that, so that outliers are small. From each time step of the second part, all `horizon`
    values ahead are forecast, as differences from the seasonal naive forecast. Inputs are the
    value, its differences from the values one and `context` steps ago, and how the seasonal naive
    forecast of each value ahead differs from the value `context` steps before it. So neither
    inputs nor scale use a value after the time step from which it is forecast.

    Attributes:
      path: a CSV file with one series per row, of which the first cell is the name; the last
        `horizon` values are the test part. None: the folder of the data set `m4-hourly`.
      horizon: values ahead.
      season: time steps of a season.
      context: time steps of each part of a window, a multiple of `season`.
      head: `"quantiles"` of 7 levels, or `"student_t"`.
      batch_size: windows per batch.

    Raises:
      ValueError: a setting is out of range.
      DataError: the data set is missing or corrupt, or a series is shorter than a window.

    Source of the data: Makridakis, Spiliotis and Assimakopoulos, "The M4 competition", IJF 36.

    >>> ManySeries(horizon=24).head
    'quantiles'
    """

    path: Path | None = None
    horizon: int = 48
    season: int = 24
    context: int = 168
    head: Literal["quantiles", "student_t"] = "quantiles"
    batch_size: int = 32

    def __post_init__(self):
        sizes = {"horizon": self.horizon, "season": self.season, "context": self.context}
        require_positive_int(**sizes, batch_size=self.batch_size)
        require_one_of("head", self.head, ("quantiles", "student_t"))
        if self.context % self.season:
            raise ValueError(
                f"context must be a multiple of season {self.season}, got {self.context}; change it"
            )

    def load(self, seed: int) -> TaskData:
        """Reads the series. `seed` draws the training windows."""
        head = self._head()
        past, future = self.read()
        # The series without the values that validate.
        fitted = [values[: -self.horizon] for values in past]
        sets = {"valid": (fitted, past), "test": (past, future)}
        parts = {name: self._origins(known, after) for name, (known, after) in sets.items()}
        digest = fingerprint(*future, f"{self}")

        def train_batch(n: int) -> Batch:
            rng = rng_for(RngStream.TRAIN, seed, n)
            chosen = rng.integers(len(fitted), size=self.batch_size)
            windows, targets = [], []
            for k in chosen:
                stop = int(rng.integers(3 * self.context, len(fitted[k]) + 1))
                window = self._window(fitted[k][:stop])
                windows.append(window.inputs)
                targets.append(self._targets(window, fitted[k], stop))
            return Batch(np.stack(windows), np.stack(targets))

        def decode(outputs: np.ndarray, batch: Batch) -> list[tuple[Forecast, Outcome]]:
            # The numbers of the test windows follow those of the validation windows.
            pairs = []
            for output, number in zip(outputs[last_steps(batch.mask)], batch.example, strict=False):
                of = parts["valid" if number < len(past) else "test"]
                k = number % len(past)
                quantiles = head.quantiles(output, LEVELS) * of.scales[k] + of.naive[k][:, None]
                pairs.append((Forecast(quantiles, LEVELS), of.outcomes[k]))
            return pairs

        def evaluation(name: str) -> Batch:
            part = parts[name]
            first = 0 if name == "valid" else len(past)
            example = np.arange(first, first + len(past), dtype=np.int32)
            mask = np.ones(part.inputs.shape[:2], bool)
            return Batch(part.inputs, part.targets, mask, example=example)

        return TaskData(
            loss=head,
            metrics=("mase", "weighted_quantile_loss", "msis", "coverage", "smape"),
            out_features=head.out_features,
            train_batch=train_batch,
            eval_sets={
                name: functools.partial(split_batches, evaluation(name), self.batch_size)
                for name in sets
            },
            baselines=lambda: interval_forecasts.scores(
                past, parts["test"].outcomes, self.horizon, (self.season, self.context), LEVELS
            ),
            in_features=parts["test"].inputs.shape[-1],
            decode=decode,
            fingerprint=digest,
            notes=(
                f"{len(past)} series of {min(map(len, past))} to {max(map(len, past))} values; "
                f"horizon {self.horizon}, season {self.season}, windows of {2 * self.context}.",
            ),
        )

    def read(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the series before the test part, and with it.

        Raises:
          DataError: the data set is missing or corrupt, or a series is shorter than a window.
        """
        if self.path is None or Path(self.path).is_dir():
            files = dataset_files("m4-hourly", self.path)
            past = read_wide_series(files["Hourly-train.csv"]).values
            tested = read_wide_series(files["Hourly-test.csv"]).values
            path, past = files["Hourly-train.csv"], list(past)
            future = [np.append(a, b[: self.horizon]) for a, b in zip(past, tested, strict=True)]
        else:
            path = Path(self.path)
            future = list(read_wide_series(path).values)
            past = [values[: -self.horizon] for values in future]
        shortest, needed = min(map(len, past)), 3 * self.context + self.horizon
        if shortest < needed:
            reason = f"must have >= {needed} values per series before the test part, got {shortest}"
            raise data_error(path, f"{reason}; lower context")
        return past, future

    def _head(self) -> Head:
        if self.head == "student_t":
            return StudentT(self.horizon)
        return Quantiles(self.horizon, LEVELS)

    def _window(self, values: np.ndarray) -> Window:
        """The window at the end of values, of which `context` more are read before it."""
        length, context, season = 2 * self.context, self.context, self.season
        recent = values[-length - context :]
        within = recent[context:]
        # Of all values before the second part, as the error that is reported is scaled by all.
        scale = seasonal_scale(values[:-context], season)
        scale = max(scale, 1e-3 * float(np.mean(np.abs(values[:-context]))), 1e-8)
        # The values of the last season, and of the last context, at the phase of each value ahead.
        naive = seasonal_naive(recent, self.horizon, season)[context:]
        longer = seasonal_naive(recent, self.horizon, context)[context:]
        level = within[:context].mean()
        inputs = np.concatenate(
            [
                (within - level)[:, None],
                (within - recent[context - season : -season])[:, None],
                (within - recent[:length])[:, None],
                longer - naive,
            ],
            axis=1,
        )
        return Window(np.arcsinh(inputs / scale).astype(np.float32), naive, scale)

    def _targets(self, window: Window, values: np.ndarray, stop: int) -> np.ndarray:
        """Values ahead of each time step, relative to the naive ones; NaN where not scored."""
        length = 2 * self.context
        padded = np.append(values, np.full(self.horizon, np.nan))
        at = np.arange(stop - length, stop)[:, None] + np.arange(1, self.horizon + 1)
        targets = (padded[at] - window.naive) / window.scale
        targets[: self.context - 1] = np.nan
        return targets.astype(np.float32)

    def _origins(self, known: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> "_Part":
        """One forecast of each series from the end of what is known."""
        windows = [self._window(values) for values in known]
        outcomes = [
            Outcome(x[len(y) : len(y) + self.horizon], seasonal_scale(y, self.season))
            for x, y in zip(after, known, strict=True)
        ]
        naive = np.stack([window.naive[-1] for window in windows])
        scales = np.array([window.scale for window in windows])
        targets = np.full((len(windows), 2 * self.context, self.horizon), np.nan, np.float32)
        actual = np.stack([outcome.values for outcome in outcomes])
        targets[:, -1] = (actual - naive) / scales[:, None]
        return _Part(np.stack([w.inputs for w in windows]), targets, naive, scales, outcomes)


@dataclass(frozen=True)
class _Part:
    """The windows of an evaluation set and what their forecasts are compared with."""

    inputs: np.ndarray
    targets: np.ndarray
    naive: np.ndarray
    scales: np.ndarray
    outcomes: list[Outcome] = field(repr=False)
