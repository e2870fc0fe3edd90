"""Sentences on how the file of a series is understood, which are shown before the training."""

from pathlib import Path

import numpy as np

from rnnlab.tasks.readers.series import Series
from rnnlab.tasks.wording import counted, shortened

# Days per time step.
_SPACINGS = {
    1 / 24: "hour",
    1.0: "day",
    7.0: "week",
    30.44: "month",
    91.31: "quarter",
    365.24: "year",
}


def describe_series(
    path: Path,
    series: Series,
    part_ends: tuple[int, int, int],
    *,
    horizon: int,
    length: int,
    season: int,
    is_detected: bool,
    inputs: tuple[str, ...],
    normalization: str,
) -> str:
    """Returns the time steps, the forecast, the season and the meaning of the columns, as text.

    Args:
      path: the file.
      series: what was read from it.
      part_ends: time steps where the training, the validation and the test part end.
      horizon: time steps ahead.
      length: time steps of a training window.
      season: time steps per season.
      is_detected: whether the season follows from the dates.
      inputs: names of the columns that are inputs only.
      normalization: what inputs and targets are relative to, see `Forecasting`.

    >>> none = np.zeros((1, 90, 0))
    >>> series = Series(np.ones((1, 90, 1)), ("x",), none, none, unused=("y",))
    >>> options = {"horizon": 2, "length": 12, "season": 7, "is_detected": False, "inputs": ()}
    >>> options["normalization"] = "window"
    >>> print(describe_series(Path("a.csv"), series, (60, 75, 90), **options))
    a.csv: 1 series of 90 time steps without dates: 60 to train on, 15 to validate, 15 to test. \
Forecast: x, the next 2 time steps. Training windows: 12 time steps. Season: 7 time steps. \
Normalization: window. Unused columns: y.
    """
    train, valid, end = part_ends
    count = len(series.names)
    parts = f"{train:,} to train on, {valid - train:,} to validate, {end - valid:,} to test"
    steps = f"{series.values.shape[1]:,} time steps {_dates(series)}: {parts}"
    found = counted(season, "time step") if season > 1 else "none"
    if is_detected:
        found += " (from the dates)" if season > 1 else " (--data.season sets one)"
    sentences = [
        f"{path.name}: {count:,} series of {steps}",
        f"Forecast: {shortened(series.columns)}, the next {counted(horizon, 'time step')}",
        f"Training windows: {counted(length, 'time step')}",
        f"Season: {found}",
        f"Normalization: {normalization}",
    ]
    if missing := int(np.isnan(series.values[:, :end]).sum()):
        sentences.append(f"Missing values: {missing:,} of {series.values[:, :end].size:,}")
    if inputs:
        sentences.append(f"Further inputs: {shortened(inputs)}")
    if series.unused:
        sentences.append(f"Unused columns: {shortened(series.unused)}")
    return ". ".join(sentences) + "."


def _dates(series: Series) -> str:
    if series.dates is None or series.days is None:
        return "without dates"
    first, last = (str(date).removesuffix("T00:00:00") for date in series.dates[[0, -1]])
    near = (name for days, name in _SPACINGS.items() if abs(series.days / days - 1) < 0.02)
    spacing = next(near, None)
    every = f"{series.days:.4g} days" if spacing is None else spacing
    return f"from {first} to {last}, one every {every} (column {series.date!r})"
