"""The figure of learning curves: what is drawn, and that nothing of a short run is cut."""

import numpy as np
import pytest
from cli.results import result
from matplotlib.colors import to_hex

from rnnlab.cli.plot_runs import curves_figure
from rnnlab.registry import COLORS


def named_lines(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_seeds_are_a_mean_in_a_band_with_thin_lines():
    figure = curves_figure([result(v, s, cell="gru") for s, v in ((0, 1.0), (1, 2.0))])
    axes = figure.axes[0]
    mean = named_lines(axes)["GRU, mean of 2 seeds"]
    np.testing.assert_allclose(mean.get_ydata(), [4.0, 2.5, 1.5])
    assert to_hex(mean.get_color()).upper() == COLORS["gru"]
    thin = [line for line in axes.lines if line.get_linewidth() < 1]
    assert len(thin) == 2
    (band,) = axes.collections
    low, high = band.get_paths()[0].get_extents().intervaly
    assert (low, high) == (1.0, 4.0)
    assert "bands: lowest to highest" in figure.legends[0].get_title().get_text()


def test_training_loss_has_a_panel_where_it_is_known():
    runs = [result(1.0, cell="gru"), result(1.2, cell="rnn")]
    figure = curves_figure(runs, [[(10, 3.0), (20, 2.0)], []])
    assert len(figure.axes) == 3
    assert list(named_lines(figure.axes[2])) == ["GRU"]
    assert len(curves_figure(runs).axes) == 2


@pytest.mark.parametrize("metric", ["nll", "accuracy"])
def test_short_run_is_drawn_whole(metric):
    runs = [result(0.9, metric=metric, cell="gru"), result(0.5, metric=metric, cell="rnn")]
    runs[0]["curve"] = [[step, step / 10, 1.0] for step in range(0, 3000, 50)]
    runs[1]["curve"] = [[0, 0.1, 4.0]]
    axes = curves_figure(runs).axes[0]
    low, high = axes.get_ylim()
    assert low < 1.0
    assert high > 4.0
    only = named_lines(axes)["RNN"]
    assert only.get_marker() not in (None, "None")
    assert axes.get_xlim()[0] <= 0 < axes.get_xlim()[1]


def test_value_of_an_untrained_model_may_be_out_of_view_where_runs_are_long():
    run = result(1.0, cell="gru")
    run["curve"] = [[100 * k, float(k), 100.0 if k == 0 else 2.0 - k / 10] for k in range(8)]
    axes = curves_figure([run]).axes[0]
    assert axes.get_ylim()[1] < 10
    assert "uniform (test set): 3.0000, out of view" in named_lines(axes)
    assert named_lines(axes)["n-gram (test set): 1.5000"].get_ydata()[0] == 1.5


def test_settings_differ_in_line_style_and_cells_in_marker():
    runs = [result(1.0, cell=c, depth=d) for c in ("gru", "rnn") for d in (1, 2)]
    drawn = named_lines(curves_figure(runs).axes[0])
    looks = {
        (drawn[f"{c}, depth {d}"].get_linestyle(), drawn[f"{c}, depth {d}"].get_marker())
        for c in ("GRU", "RNN")
        for d in (1, 2)
    }
    assert len(looks) == 4


def test_curve_with_missing_values_is_drawn():
    run = result(1.0, cell="gru", baselines={"none": {}})
    run["curve"] = [[0, 0.1, None], [10, 0.2, None]]
    assert len(curves_figure([run]).axes) == 2


def test_labels_of_a_logarithmic_axis_of_seconds_are_plain_numbers():
    runs = [result(0.9, cell="gru"), result(0.5, cell="rnn")]
    runs[0]["curve"] = [[0, 2.5, 3.0], [10, 26.0, 2.0]]
    runs[1]["curve"] = [[0, 1.5, 3.0], [10, 2.2, 2.0]]
    figure = curves_figure(runs)
    figure.draw_without_rendering()
    axes = figure.axes[1]
    assert axes.get_xscale() == "log"
    shown = [label.get_text() for label in axes.get_xticklabels(which="both") if label.get_text()]
    assert {"2", "5", "10", "20"} <= set(shown)
    assert not any("10^" in label for label in shown)


def test_baseline_that_would_flatten_the_curves_is_named_at_the_edge():
    baselines = {"mean": {"nll": 900.0}, "naive": {"nll": 0.01}}
    axes = curves_figure([result(2.0, cell="gru", baselines=baselines)]).axes[0]
    assert 1 < axes.get_ylim()[0] < 2
    assert axes.get_ylim()[1] < 5
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["↓ naive (test set): 0.0100", "↑ mean (test set): 900"]
    assert "naive (test set): 0.0100, out of view" in named_lines(axes)
    near = curves_figure([result(2.0, cell="gru", baselines={"naive": {"nll": 1.0}})]).axes[0]
    assert near.get_ylim()[0] < 1
    assert not near.texts
    # Nothing is flattened where nothing varies.
    constant = result(2.0, cell="gru", baselines=baselines) | {"curve": [[0, 0.1, 4.0]]}
    assert curves_figure([constant]).axes[0].get_ylim()[0] < 0.01
