"""Detectors of anomalies: against loops over time, and that no score reads the future."""

import math

import numpy as np
import pytest

from rnnlab.tasks.readers.nab import LabelledSeries
from rnnlab.tasks.reference import anomaly_detectors as detectors
from rnnlab.tasks.reference.anomaly_detectors import (
    anomaly_likelihood,
    naive_errors,
    steps_per_day,
    windowed_gaussian,
)


@pytest.fixture
def small(monkeypatch):
    sizes = {"HISTORY": 60, "REFRESH": 20, "GAUSSIAN_WINDOW": 50, "GAUSSIAN_STEP": 7}
    for name, size in sizes.items():
        monkeypatch.setattr(detectors, name, size)


def loop_gaussian(values, size, step):
    """The detector one value at a time, with a list that slides."""
    window, waiting, scores = [], [], []
    for x in values:
        if window:
            deviation = np.std(window) or 1e-6
            z = abs(x - np.mean(window)) / deviation
            scores.append(1 - 0.5 * math.erfc(z / math.sqrt(2)))
        else:
            scores.append(0.0)
        if len(window) < size:
            window.append(x)
            continue
        waiting.append(x)
        if len(waiting) == step:
            window, waiting = window[step:] + waiting, []
    return scores


def loop_likelihood(errors, first):
    """The likelihood one error at a time."""
    means = [np.mean(errors[max(0, t - 9) : t + 1]) for t in range(len(errors))]
    scores, was_certain = [], False
    for t in range(len(errors)):
        stop = first + max(t - first, 0) // 20 * 20
        stop = t if stop <= first + 10 else stop
        known = means[max(stop - 60, first) : stop]
        tail = 0.0
        if len(known) >= 10:
            deviation = max(np.std(known), 0.01 * np.mean(known), 1e-9)
            z = (means[t] - np.mean(known)) / deviation
            tail = math.log(max(0.5 * math.erfc(z / math.sqrt(2)), 1e-300))
        certain = tail <= math.log(1e-5)
        scores.append(-math.log(1e-3) if certain and was_certain else -tail)
        was_certain = certain
    return scores


def test_windowed_gaussian_equals_a_loop_over_values(small):
    values = np.random.default_rng(0).normal(20, 3, 200)
    assert windowed_gaussian(values) == pytest.approx(loop_gaussian(values, 50, 7), abs=1e-9)
    constant = np.full(20, 0.1)
    constant[15] = 0.2
    assert windowed_gaussian(constant)[1:17].tolist() == [0.5] * 14 + [
        1.0,
        pytest.approx(0.6, abs=0.1),
    ]


@pytest.mark.parametrize("first", [0, 13])
def test_anomaly_likelihood_equals_a_loop_over_errors(small, first):
    errors = np.random.default_rng(1).gamma(1.0, size=250)
    errors[180:183] += 12
    found = anomaly_likelihood(errors, first)
    assert found == pytest.approx(loop_likelihood(errors, first), rel=1e-6, abs=1e-9)
    assert 180 <= found.argmax() <= 183


@pytest.mark.parametrize(
    "detector", [windowed_gaussian, lambda x: anomaly_likelihood(np.abs(x), 5)]
)
def test_score_of_a_time_step_does_not_depend_on_later_values(small, detector):
    values = np.random.default_rng(2).normal(size=150)
    changed = np.append(values[:100], 50 + values[100:])
    assert detector(changed)[:100] == pytest.approx(detector(values)[:100], abs=1e-9)


def test_naive_errors_are_relative_to_the_probation():
    dates = np.datetime64("2026-01-01", "s") + 3600 * np.arange(400)
    values = np.tile([0.0, 2.0], 200)
    values[300] = 12
    series = LabelledSeries("a.csv", dates, values, dates[:0].reshape(0, 2))
    errors = naive_errors(series, 1)
    assert (errors[0], errors[1], errors[300]) == (0, 1, 5)
    assert steps_per_day(series) == 24
    # The probation repeats itself after 24 time steps; the smallest scale replaces an error of 0.
    assert naive_errors(series, 24)[300] == pytest.approx(12 / 1e-3)
