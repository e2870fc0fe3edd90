"""The sentences below a table of results."""

import pytest
from cli.results import result

from rnnlab.cli.result_sentences import conclusion


def test_one_run_is_compared_with_the_best_baseline():
    assert conclusion([result(1.25, cell="gru")]) == (
        "The best test nll is 1.2500 (cell gru). The run is better than the best baseline (n-gram, "
        "1.5000)."
    )
    assert "The run is not better than" in conclusion([result(1.5, cell="gru")])


def runs_of(**values):
    """One result per cell and seed, from the values of each cell."""
    return [result(v, k, cell=cell) for cell, found in values.items() for k, v in enumerate(found)]


def test_difference_larger_than_the_spread_names_the_next_setting():
    assert conclusion(runs_of(gru=[1.0, 1.2], rnn=[1.6, 1.4], lstm=[2.0, 2.1])) == (
        "The best mean test nll is 1.1000 ± 0.1414 (cell gru, 2 seeds). The next, 1.5000 ± 0.1414 "
        "(cell rnn, 2 seeds), is worse by more than the standard deviation over seeds. 1 of 3 "
        "settings is better than the best baseline (n-gram, 1.5000), by more than the standard "
        "deviation over seeds."
    )


def test_settings_are_compared_with_the_baseline_in_plain_words():
    about = "better than the best baseline (n-gram, 1.5000)"
    margin = "by at most the standard deviation over seeds."
    for values, said in (
        ({"gru": [1.6, 1.7], "rnn": [2.0, 2.1]}, f"No setting is {about}."),
        (
            {"gru": [1.4, 1.7], "rnn": [2.0, 2.1]},
            f"No setting is clearly {about}: 1 differs {margin}",
        ),
        (
            {"gru": [1.4, 1.7], "rnn": [1.4, 1.8]},
            f"No setting is clearly {about}: 2 differ {margin}",
        ),
        ({"gru": [1.0, 1.1], "rnn": [1.2, 1.3]}, f"Both settings are {about}, by more than the"),
        ({"gru": [1.0], "rnn": [1.2], "lstm": [1.3]}, f"All 3 runs are {about}."),
    ):
        assert said in conclusion(runs_of(**values))


def test_difference_smaller_than_the_spread_is_not_called_a_win():
    text = conclusion(runs_of(gru=[1.0, 2.0], rnn=[1.6], lstm=[2.9, 3.0]))
    assert "There is no clear winner: 1.6000 (cell rnn) differs from it by no more than" in text
    assert "lstm" not in text
    one = conclusion(runs_of(gru=[1.0, 1.9]))
    assert one.endswith(
        "It differs from the best baseline (n-gram, 1.5000) by no more than that standard "
        "deviation."
    )


def test_settings_on_different_data_are_not_ranked():
    short, long = (
        result(v, data={"length": n}, cell="gru", baselines={"constant": {"nll": n / 10}})
        for v, n in ((1.0, 8), (4.0, 64))
    )
    assert conclusion([short, long]) == (
        "The runs are on 2 data sets, which are not ranked against each other. The best test nll "
        "of each: 1.0000 (cell gru, length 8); 4.0000 (cell gru, length 64). 1 of 2 runs is "
        "better than the best baseline of their data. Each setting has one seed: do not rank "
        "settings by small differences."
    )


def test_single_seeds_are_not_to_be_ranked():
    runs = [result(1.2, cell="gru"), result(1.3, cell="rnn")]
    assert conclusion(runs).endswith("do not rank settings by small differences.")


@pytest.mark.parametrize(("value", "said"), [(0.9, "1 of 2 runs is"), (0.5, "No run is")])
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
        "The best test nll is 1.4000 (cell rnn). 1 of 3 runs is better than the best baseline "
        "(n-gram, 1.5000)."
    )
    assert conclusion(runs[:2]) == "No run has a finite test nll."


def test_run_without_baselines_has_no_sentence_about_them():
    run = result(1.0, cell="gru") | {"baselines": {}}
    assert conclusion([run]) == "The best test nll is 1.0000 (cell gru)."
