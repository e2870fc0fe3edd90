"""Figures of predictions: what is drawn for each kind."""

import numpy as np

from rnnlab.analysis.prediction_plots import figure
from rnnlab.analysis.reliability import reliability
from rnnlab.tasks.predictions import Predictions

DAYS = np.datetime64("2024-01-01") + np.arange(5)
FORECASTS = {
    "origin": DAYS[[0, 0, 2, 2]],
    "date": DAYS[[1, 2, 3, 4]],
    "forecast": np.arange(4.0),
    "actual": np.array([1.0, 2.0, np.nan, np.nan]),
}


def test_figure_of_forecasts_has_a_panel_per_series_and_draws_the_truth_where_it_is_known():
    columns = {name: np.concatenate([x, x]) for name, x in FORECASTS.items()}
    columns["series"] = np.array(["a"] * 4 + ["b"] * 4)
    drawn = figure(Predictions("forecast", columns))
    assert [axes.get_ylabel() for axes in drawn.axes] == ["a", "b"]
    lines = {line.get_label(): line for line in drawn.axes[0].lines}
    assert lines["truth"].get_ydata().tolist() == [1, 2]
    assert lines["forecast from earlier origins"].get_ydata().tolist() == [0, 1]
    assert lines["forecast beyond the data"].get_ydata().tolist() == [2, 3]


def test_figure_of_classes_counts_predicted_per_actual_class():
    columns = {"predicted": np.array(["a", "b", "b", "b"]), "actual": np.array(["a", "a", "b", ""])}
    (axes, _) = figure(Predictions("class", columns)).axes
    shares = axes.images[0].get_array()
    assert shares.tolist() == [[0.5, 0.5], [0, 1]]
    assert sorted(text.get_text() for text in axes.texts) == ["1", "1", "1"]


def test_figure_without_known_truth_is_none():
    unknown = np.array(["", ""])
    assert (
        figure(Predictions("class", {"predicted": np.array(["a", "b"]), "actual": unknown})) is None
    )
    values = {"predicted": np.zeros(2), "actual": np.full(2, np.nan)}
    assert figure(Predictions("value", values)) is None
    values["actual"] = np.array([1.0, np.nan])
    assert figure(Predictions("value", values)).axes[0].lines[0].get_xdata().tolist() == [1]


def test_figure_of_two_classes_has_the_reliability_of_the_second():
    rng = np.random.default_rng(0)
    p = rng.random(400)
    happened = rng.random(400) < p
    columns = {
        "predicted": np.where(p > 0.5, "ill", "healthy"),
        "actual": np.where(happened, "ill", "healthy"),
        "p(healthy)": 1 - p,
        "p(ill)": p,
    }
    drawn = figure(Predictions("class", columns))
    labels = [axes.get_xlabel() for axes in drawn.axes]
    assert labels.count("predicted class") == labels.count("predicted p(ill)") == 1
    found = reliability(p, happened)
    assert found.counts.sum() == 400
    assert (np.abs(found.observed - found.predicted) < 0.25).all()
    inside = (found.low <= found.predicted) & (found.predicted <= found.high)
    assert inside.sum() >= 8


def test_interval_of_a_share_is_that_of_wilson():
    found = reliability(np.full(10, 0.3), np.arange(10) < 3, num_bins=1)
    np.testing.assert_allclose([found.low[0], found.high[0]], [0.1078, 0.6032], atol=1e-4)
