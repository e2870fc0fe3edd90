"""Histograms of the probability integral transform."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import norm

from rnnlab.analysis.calibration import draw_pit, pit_histogram
from rnnlab.tasks.many_series import LEVELS
from rnnlab.tasks.reference.forecast_scores import Forecast, Outcome, pit_values


@pytest.mark.parametrize(("scale", "shape"), [(1.0, "flat"), (0.5, "cup"), (2.0, "hump")])
def test_histogram_of_normal_forecasts_shows_whether_they_are_too_narrow_or_too_wide(scale, shape):
    rng = np.random.default_rng(0)
    quantiles = np.tile(scale * norm.ppf(LEVELS), (4000, 1))
    values = pit_values([Forecast(quantiles, LEVELS)], [Outcome(rng.normal(size=4000), 1.0)])
    density = pit_histogram(values, LEVELS).density()
    outer, inner = density[[0, -1]].mean(), density[3:5].mean()
    if shape == "flat":
        assert (outer, inner) == (pytest.approx(1, abs=0.15), pytest.approx(1, abs=0.05))
    else:
        assert (outer > 2 > 1 > inner) if shape == "cup" else (outer < 0.2 < 1 < inner)


def test_drawn_histogram_has_a_bar_per_bin_and_the_line_of_calibrated_forecasts():
    axes = Figure().subplots()
    draw_pit(axes, pit_histogram(np.linspace(0, 1, 101), (0.25, 0.5, 0.75)))
    assert [bar.get_width() for bar in axes.patches] == [0.25] * 4
    assert list(axes.lines[0].get_ydata()) == [1, 1]
