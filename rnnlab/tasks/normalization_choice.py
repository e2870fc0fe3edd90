"""Choice of the normalization of series by a linear forecaster, on the validation part."""

from collections.abc import Callable

import numpy as np

from rnnlab.tasks.series_features import within
from rnnlab.tasks.series_preparation import SeriesPreparation
from rnnlab.tasks.series_split import SeriesSplit

PENALTIES = (0.01, 0.1, 1.0)
"""Penalties on squared coefficients, per example, of which the best one counts."""


SERIES_MARGIN = 0.95
"""Ratio of validation errors below which a series is scaled as a whole."""


def choose_normalization(split: SeriesSplit, prepare: Callable[[str], SeriesPreparation]) -> str:
    """Returns the normalization with which a linear forecaster has the lowest validation error.

    Compared are those that scale each time step by its own past: `"window"`, and with a season
    `"difference"` and `"seasonal"`. `"series"`, which cannot follow a series out of the range of
    its training part, is chosen if its error is less than `SERIES_MARGIN` times theirs. The test
    part is not used.

    Args:
      split: the series.
      prepare: returns the preparation of a normalization.
    """
    names = ("window", "difference", "seasonal") if split.season > 1 else ("window",)
    errors = {name: linear_error(split, prepare(name)) for name in (*names, "series")}
    best = min(names, key=errors.__getitem__)
    return "series" if errors["series"] < SERIES_MARGIN * errors[best] else best


def linear_error(split: SeriesSplit, prepared: SeriesPreparation) -> float:
    """Returns the validation RMSE of ridge regression, in multiples of `target_scales`.

    It forecasts the targets of a time step from the inputs of this time step, and is fitted to the
    training part of all series together.
    """
    train, valid = split.boundaries
    known = split.series._replace(
        **{
            name: getattr(split.series, name)[:, :valid]
            for name in ("values", "covariates", "known_covariates")
        },
        dates=None if split.series.dates is None else split.series.dates[:valid],
    )
    inputs = prepared.inputs(known).astype(np.float64)
    inputs = np.concatenate([inputs, np.ones((*inputs.shape[:2], 1))], axis=-1)
    targets, scales = prepared.targets(known), prepared.relative_scales(known)
    fitted = np.where(prepared.has_history(known, train), targets, np.float32(np.nan))
    fitted = ~np.isnan(within(fitted, prepared.horizon, 0, train))
    scored = ~np.isnan(within(targets, prepared.horizon, train, valid))
    # The last input, the constant, is not penalized; the least penalty keeps it solvable.
    penalized = np.append(np.ones(inputs.shape[-1] - 1), 1e-9)
    squares = dict.fromkeys(PENALTIES, 0.0)
    for k in range(targets.shape[-1]):
        rows, known_rows = fitted[..., k], scored[..., k]
        x, y = inputs[rows], targets[..., k][rows].astype(np.float64)
        for penalty in PENALTIES:
            regularized = x.T @ x + penalty * len(y) * np.diag(penalized)
            coefficients = np.linalg.solve(regularized, x.T @ y)
            errors = inputs[known_rows] @ coefficients - targets[..., k][known_rows]
            squares[penalty] += float(np.sum((errors * scales[..., k][known_rows]) ** 2))
    return float(np.sqrt(min(squares.values()) / max(scored.sum(), 1)))
