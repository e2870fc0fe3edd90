"""ETS and ARIMA against the forecasts of statsmodels, and as baselines of a task."""

import warnings

import numpy as np
import pytest
from series_examples import PARTS, values_of

from rnnlab.tasks import forecast_baselines
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.tasks.reference.arima import Arima, fit_arima
from rnnlab.tasks.reference.ets import ExponentialSmoothing, fit_ets

pytest.importorskip("statsmodels")


def positive(steps=60):
    return np.exp(0.02 * np.arange(steps)) * (30 + np.abs(np.nan_to_num(values_of(steps))))


@pytest.mark.parametrize("damping", [1.0, 0.9])
@pytest.mark.parametrize("kind", ["add", "mul"])
def test_exponential_smoothing_equals_statsmodels(kind, damping):
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    values = positive()
    model = ETSModel(
        values,
        error=kind,
        trend="add",
        seasonal=kind,
        damped_trend=damping < 1,
        seasonal_periods=6,
        initialization_method="heuristic",
    )
    reference = model.smooth(np.array([0.4, 0.1, 0.2, *[damping][: damping < 1]]))
    season = np.asarray(reference.initial_seasonal)
    found = ExponentialSmoothing(
        kind == "mul",
        *(0.4, 0.1, 0.2, damping),
        *(reference.initial_level, reference.initial_trend, season, 0.0),
    ).forecasts(values, 9)
    np.testing.assert_allclose(found[:-1, 0], reference.fittedvalues[1:], rtol=1e-9)
    np.testing.assert_allclose(found[-1], reference.forecast(9), rtol=1e-9)


@pytest.mark.parametrize("is_log", [False, True])
def test_arima_equals_statsmodels_from_every_time_step(is_log):
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    values, params = positive(), np.array([0.1, 0.3, -0.2])
    values[20:23] = np.nan
    model = Arima((1, 1, 0), (0, 1, 1, 6), "c", params, is_log, 6.0, np.empty(0), 0.0)
    found = model.forecasts(values, 4)
    for t in (30, 59):
        known = np.log(values[: t + 1]) if is_log else values[: t + 1]
        reference = SARIMAX(
            known, order=(1, 1, 0), seasonal_order=(0, 1, 1, 6), trend="c", concentrate_scale=True
        )
        wanted = reference.filter(params).forecast(4)
        np.testing.assert_allclose(found[t], np.exp(wanted) if is_log else wanted, rtol=1e-6)


def test_fitted_models_forecast_a_long_season_and_short_series_have_none():
    step = np.arange(150)
    values = 20 + 5 * np.sin(2 * np.pi * step / 25.5) + np.random.default_rng(0).normal(size=150)
    model = fit_arima(values[:100], 25, 25.5)
    assert len(model.waves) in (4, 10)
    forecasts = model.forecasts(values, 10)
    errors = forecasts[100:140, 9] - values[110:150]
    assert np.sqrt(np.mean(errors**2)) < 2.5
    assert fit_arima(values[:8], 1, 1.0) is None
    assert fit_ets(np.full(50, 3.0), 1) is None


def test_classical_baselines_do_not_use_validation_and_test_values_for_their_fit(
    write_series, monkeypatch
):
    """A planted constant in later parts changes no forecast from before it."""
    made, forecasts = [], forecast_baselines._classical
    monkeypatch.setattr(
        forecast_baselines, "_classical", lambda *of: made.append(forecasts(*of)) or made[-1]
    )
    values = values_of()
    planted = values.copy()
    planted[60:] = np.where(np.arange(40) % 2, 1e4, 2e4)
    for k, x in enumerate((values, planted)):
        task = Forecasting(write_series(x, f"{k}.csv"), **PARTS)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            scores = task.load(seed=0).baselines()
        assert list(scores) == ["seasonal naive", "last value", "ETS", "ARIMA"]
        assert all(np.isfinite(list(score.values())).all() for score in scores.values())
    for name in ("ETS", "ARIMA"):
        np.testing.assert_array_equal(made[0][name][:60], made[1][name][:60])


def test_results_without_statsmodels_lack_the_classical_baselines(write_series, monkeypatch):
    monkeypatch.setattr(forecast_baselines.importlib.util, "find_spec", lambda name: None)
    data = Forecasting(write_series(values_of()), **PARTS).load(seed=0)
    assert list(data.baselines()) == ["seasonal naive", "last value"]
    assert "statsmodels is not installed" in data.notes[-1]
    assert "\n" not in data.notes[-1]


def test_many_columns_have_no_classical_baselines(tmp_path):
    path = tmp_path / "wide.csv"
    names = [f"c{k}" for k in range(9)]
    rows = np.random.default_rng(0).normal(size=(100, 9)).round(3)
    path.write_text("\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)]))
    data = Forecasting(path, column=",".join(names), **PARTS).load(seed=0)
    assert list(data.baselines()) == ["seasonal naive", "last value"]
    assert data.notes[-1].endswith("at most 8 columns of series; this data has 9.")
