"""Scores of forecasts against scoringrules and against plain loops."""

import numpy as np
import pytest

from rnnlab.tasks.reference.forecast_scores import (
    Forecast,
    Outcome,
    coverage,
    mase,
    msis,
    pit_values,
    seasonal_scale,
    smape,
    weighted_quantile_loss,
)

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
SERIES, HORIZON = 6, 8


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    forecasts, outcomes = [], []
    for k in range(SERIES):
        size = 10.0**k
        quantiles = np.sort(rng.normal(size=(HORIZON, len(LEVELS))), -1) * size + 2 * size
        values = rng.normal(size=HORIZON) * 1.5 * size + 2 * size
        forecasts.append(Forecast(quantiles, LEVELS))
        outcomes.append(Outcome(values, float(rng.uniform(0.5, 2) * size)))
    return forecasts, outcomes


def test_scores_agree_with_scoringrules(case):
    rules = pytest.importorskip("scoringrules")
    forecasts, outcomes = case
    by_series, losses = [], []
    for forecast, outcome in zip(forecasts, outcomes, strict=True):
        low, high = forecast.at(0.025), forecast.at(0.975)
        score = rules.interval_score(outcome.values, low, high, 0.05, backend="numpy")
        by_series.append(score.mean() / outcome.scale)
        crps = rules.crps_quantile(
            outcome.values, forecast.quantiles, np.array(LEVELS), backend="numpy"
        )
        losses.append(crps)
    assert msis(forecasts, outcomes) == pytest.approx(np.mean(by_series), rel=1e-9)
    size = np.abs([outcome.values for outcome in outcomes]).sum()
    found = weighted_quantile_loss(forecasts, outcomes)
    assert found == pytest.approx(np.sum(losses) / size, rel=1e-9)


def test_point_scores_match_plain_loops(case):
    forecasts, outcomes = case
    scaled, percent = [], []
    for forecast, outcome in zip(forecasts, outcomes, strict=True):
        pairs = list(zip(forecast.quantiles[:, 2], outcome.values, strict=True))
        scaled.append(sum(abs(a - b) for a, b in pairs) / HORIZON / outcome.scale)
        percent.append(sum(200 * abs(a - b) / (abs(a) + abs(b)) for a, b in pairs) / HORIZON)
    assert mase(forecasts, outcomes) == pytest.approx(np.mean(scaled))
    assert smape(forecasts, outcomes) == pytest.approx(np.mean(percent))


def test_coverage_and_pit_of_a_calibrated_forecast():
    rng = np.random.default_rng(1)
    levels = (0.025, *np.linspace(0.05, 0.95, 19).round(2).tolist(), 0.975)
    quantiles = np.quantile(rng.normal(size=200_000), levels)
    forecasts = [Forecast(np.tile(quantiles, (50, 1)), levels)] * 80
    outcomes = [Outcome(rng.normal(size=50), 1.0) for _ in forecasts]
    assert coverage(forecasts, outcomes) == pytest.approx(0.95, abs=0.01)
    inside = pit_values(forecasts, outcomes)
    counts = np.histogram(inside[(inside > 0) & (inside < 1)], bins=9, range=(0.05, 0.95))[0]
    assert counts.max() / counts.min() < 1.35


def test_values_that_are_unknown_do_not_count(case):
    forecasts, outcomes = case
    shorter = [Outcome(np.append(y.values[:-1], np.nan), y.scale) for y in outcomes]
    cut = [Forecast(f.quantiles[:-1], f.levels) for f in forecasts]
    known = [Outcome(y.values[:-1], y.scale) for y in outcomes]
    for score in (mase, smape, weighted_quantile_loss, msis, coverage):
        assert score(forecasts, shorter) == pytest.approx(score(cut, known))


def test_a_level_that_was_not_forecast_is_an_error(case):
    forecasts, outcomes = case
    with pytest.raises(ValueError, match="level must be one of"):
        coverage(forecasts, outcomes, width=0.5)


def test_seasonal_scale_skips_missing_values():
    assert seasonal_scale(np.array([1.0, np.nan, 4.0, 3.0, 5.0]), season=2) == 2.0
