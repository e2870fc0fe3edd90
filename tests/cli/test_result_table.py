"""Tables of results: seeds of one setting are one row, and baselines are rows of their own."""

from cli.results import result

from rnnlab.cli.compare import print_results
from rnnlab.cli.result_table import result_table, run_table
from rnnlab.cli.seed_groups import group_seeds, split_by_data
from rnnlab.tables import wide_tables


def column(table, heading):
    return [line[table.headings.index(heading)] for line in table.lines]


def test_seeds_of_a_setting_are_one_row_with_mean_and_spread():
    runs = [result(v, s, cell="gru") for s, v in enumerate((1.0, 1.2, 1.4))]
    runs.append(result(1.6, cell="rnn"))
    table = result_table(runs)
    assert column(table, "cell") == ["gru", "rnn", "n-gram (baseline)", "uniform (baseline)"]
    assert column(table, "seeds") == ["3", "1", "", ""]
    assert column(table, "test nll") == ["1.2000 ± 0.2000", "1.6000", "1.5000", "3.0000"]
    assert column(table, "test nll, lowest to highest") == ["1.0000 to 1.4000", "", "", ""]
    assert column(table, "best step")[:2] == ["50 to 150", "50"]
    assert table.title.endswith("mean ± standard deviation over seeds")


def test_single_seeds_show_no_spread():
    table = result_table([result(1.0, cell="gru"), result(1.1, cell="rnn")])
    assert "±" not in str(table)
    assert "test nll, lowest to highest" not in table.headings


def test_nan_of_a_seed_is_left_out():
    table = result_table([result(None, 0, cell="gru"), result(1.1, 1, cell="gru")])
    assert column(table, "test nll")[0] == "1.1000"


def test_single_runs_have_a_row_each():
    table = run_table([result(1.0 + s, s, cell="gru") for s in (0, 1)])
    assert column(table, "seed") == ["0", "1"]
    assert column(table, "test nll") == ["1.0000", "2.0000"]


def test_wide_tables_also_have_single_runs(capsys):
    runs = [result(1.0 + s, s, cell="gru") for s in (0, 1)]
    print_results(runs)
    printed = capsys.readouterr().out
    assert "--wide also prints each run" in printed
    assert "│ gru  │" not in printed
    with wide_tables():
        print_results(runs)
    assert "│ gru  │    1 │" in capsys.readouterr().out


def test_repeated_runs_of_a_seed_are_not_a_spread(capsys):
    runs = [result(value, 0, cell="gru") for value in (1.0, 1.0, 1.2)]
    assert column(result_table(runs), "test nll")[0] == "1.2000"
    print_results(runs)
    assert "2 earlier runs of the same setting and seed are not counted" in capsys.readouterr().out


def test_settings_outside_the_grid_that_differ_are_columns():
    runs = [result(1.0, cell="gru"), result(2.0, cell="gru")]
    runs[1]["train"] = {"steps": 200, "seed": 0}
    assert column(result_table(runs), "steps")[:2] == ["100", "200"]
    assert len(group_seeds(runs)) == 2


def test_defaults_of_different_cells_are_not_columns():
    runs = [result(1.0, cell=cell) for cell in ("lstm", "minlstm", "lstm")]
    for run, bias in zip(runs, (1.0, 0.0, 1.0), strict=True):
        run["model"] = {"cell": run["cell"], "forget_bias": bias}
    assert "forget_bias" not in result_table(runs).headings
    runs[2]["model"]["forget_bias"] = 3.0
    assert column(result_table(runs), "forget_bias")[:3] == ["1.0", "0.0", "3.0"]


def test_baselines_of_several_data_sets_name_their_data():
    runs = [
        result(1.0, data={"length": n}, cell="gru", baselines={"constant": {"nll": value}})
        for n, value in ((8, 0.5), (64, 0.7), (512, 0.7))
    ]
    table = result_table(runs)
    assert column(table, "cell")[3:] == ["constant (baseline)"] * 2
    assert column(table, "length")[3:] == ["8", ""]  # the other one is that of two lengths
    assert len(split_by_data(group_seeds(runs))) == 3
    runs[2]["data_fingerprint"] = runs[1]["data_fingerprint"]
    assert len(split_by_data(group_seeds(runs))) == 2
