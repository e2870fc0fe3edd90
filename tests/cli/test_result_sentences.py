"""The sentences below a table of results."""

import pytest

from rnnlab.cli.result_sentences import conclusion


def result(value, seed=0, metric="nll", baselines=None, **grid):
    return {
        "metric": metric,
        "metrics": {"valid": {metric: 9.0}, "test": {metric: value}},
        "grid": {f"model.{name}": x for name, x in grid.items()} | {"train.seed": seed},
        "baselines": baselines or {"uniform": {metric: 3.0}, "n-gram": {metric: 1.5}},
    }


def test_one_run_is_compared_with_the_best_baseline():
    assert conclusion([result(1.25, cell="gru")]) == (
        "The best test nll is 1.2500 (cell gru). The run is better than the best baseline (n-gram, "
        "1.5000)."
    )
    assert "The run is not better than" in conclusion([result(1.5, cell="gru")])


def test_seeds_are_averaged_and_settings_named():
    runs = [result(v, s, cell=c) for c, v, s in (("gru", 2, 0), ("gru", 1, 1), ("rnn", 1.4, 0))]
    assert conclusion(runs) == (
        "The best test nll is 1.4000 (cell rnn). 2 of 3 runs are better than the best baseline "
        "(n-gram, 1.5000)."
    )
    runs = [result(v, s, cell=c) for c, v, s in (("gru", 2, 0), ("gru", 0.5, 1), ("rnn", 1.4, 0))]
    assert "1.2500 (cell gru, mean of 2 seeds)" in conclusion(runs)


def test_single_seeds_are_not_to_be_ranked():
    runs = [result(1.2, cell="gru"), result(1.3, cell="rnn")]
    assert conclusion(runs).endswith("do not rank settings by small differences.")


@pytest.mark.parametrize(("value", "said"), [(0.9, "1 of 2"), (0.5, "0 of 2")])
def test_higher_metrics_count_as_better(value, said):
    baselines = {"most common": {"accuracy": 0.7}}
    runs = [
        result(x, metric="accuracy", baselines=baselines, cell=c)
        for x, c in ((value, "gru"), (0.6, "rnn"))
    ]
    assert said in conclusion(runs)
    assert f"test accuracy is {max(value, 0.6):.4f}" in conclusion(runs)


def test_runs_with_nan_do_not_count():
    # NaN is null in a stored record.
    runs = [result(float("nan"), cell="gru"), result(None, cell="lstm"), result(1.4, cell="rnn")]
    assert conclusion(runs) == (
        "The best test nll is 1.4000 (cell rnn). 1 of 3 runs are better than the best baseline "
        "(n-gram, 1.5000)."
    )
    assert conclusion(runs[:2]) == "No run has a finite test nll."


def test_run_without_baselines_has_no_sentence_about_them():
    run = result(1.0, cell="gru") | {"baselines": {}}
    assert conclusion([run]) == "The best test nll is 1.0000 (cell gru)."
