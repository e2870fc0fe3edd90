"""The command: its files, its table, its exit codes and its one-line errors."""

import json

import pytest

from rnnlab import records
from rnnlab.bench import speedup, speedup_table
from rnnlab.cli import main
from rnnlab.tables import markdown

pytestmark = pytest.mark.usefixtures("implicit_promotion")

SMALL = ["--lengths", "4", "8", "--batch-size", "2", "--width", "4", "--repeats", "2"]


def test_speedup_writes_rows_picture_and_table(tmp_path, capsys):
    arguments = ["speedup", "--cells", "gru", "mingru", *SMALL, "--out", str(tmp_path)]
    assert main.main(arguments) == 0
    measured = list(records.read(tmp_path / "speedup.jsonl"))
    wanted = {("gru", "rnnlab", "scan"), ("gru", "flax.nnx.RNN", "scan")}
    wanted |= {("gru", "Python loop", "step"), ("mingru", "rnnlab", "sequential")}
    wanted |= {("mingru", "rnnlab", "associative")}
    for pass_ in ("forward", "train"):
        for length in (4, 8):
            of = [r for r in measured if (r["pass"], r["length"]) == (pass_, length)]
            have = {(r["cell"], r["implementation"], r["backend"]) for r in of}
            assert wanted <= have
    for row in measured:
        assert row["step_seconds_q1"] <= row["step_seconds"] <= row["step_seconds_q3"]
        assert row["tokens_per_second"] == pytest.approx(2 * row["length"] / row["step_seconds"])
        for key in ("device", "versions", "xla_flags", "command", "seed", "dtype", "width"):
            assert key in row
        if row["implementation"] in ("rnnlab", "flax.nnx.RNN"):
            assert row["compile_seconds"] > 0
            assert row["temp_bytes"] is not None
    assert (tmp_path / "speedup.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert speedup_table.PAPER_HEADING in printed
    assert "mingru" in printed


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("scan", ["--shapes", "2x8x4", "--repeats", "2"]),
        ("layer", ["--shapes", "2x8x4", "--repeats", "2"]),
        ("accuracy", ["--lengths", "8", "--width", "2", "--dtypes", "float32"]),
        ("peers", ["--shapes", "2x8x4", "--cells", "gru", "mingru", "--repeats", "2"]),
        (
            "growth",
            [
                *("--start", "2x8x4", "--lengths", "4", "8", "--batches", "2", "--widths", "4"),
                *("--layers", "mingru", "transformer", "--repeats", "1"),
            ],
        ),
        (
            "streaming",
            [
                *("--cells", "mingru", "--batches", "1", "--lengths", "3", "--width", "8"),
                *("--depth", "1", "--repeats", "1"),
            ],
        ),
        ("newton", ["--shapes", "1x8x4", "--cells", "lstm", "--repeats", "1"]),
    ],
)
def test_the_other_benchmarks_write_rows(quick_compile, tmp_path, name, options):
    assert main.main(["bench", name, *options, "--out", str(tmp_path)]) == 0
    measured = list(records.read(tmp_path / f"{name}.jsonl"))
    assert measured
    assert {r["benchmark"] for r in measured} == {name}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["speedup", "--device", "tpu"], "device is 'tpu', which JAX does not find here"),
        (["speedup", "--cells", "gruu"], "cell 'gruu' is unknown; did you mean 'gru'?"),
        (["speedup", "--lengths", "0"], "lengths has 0; at least 1"),
        (["speedup", "--lengths"], "lengths is empty"),
        (["speedup", "--dtype", "int8"], "dtype must be one of"),
        (["speedup", "--backend", "fast"], "backend must be one of 'auto'"),
        (["speedup", "--passes", "back"], "passes must be one of"),
        (["speedup", "--repeats", "0"], "repeats is 0"),
        (["bench", "scan", "--shapes", "8x9"], "shapes has '8x9'; batch x time x width"),
        (["bench", "peers", "--cells", "s4"], "cells must be one of 'rnn', 'gru'"),
        (["bench", "growth", "--axes", "depth"], "axes must be one of 'length', 'batch'"),
        (["bench", "growth", "--lengths", "0"], "lengths is (0,); numbers of at least 1"),
        (["bench", "streaming", "--cells", "s4"], "cells must be one of 'rnn'"),
        (["bench", "newton", "--cells", "mingru"], "cells must be one of 'rnn', 'gru'"),
        (["bench", "allocator", "--rounds", "0"], "rounds is 0; at least 1"),
    ],
)
def test_bad_arguments_get_one_line_and_exit_2(tmp_path, capsys, arguments, message):
    out = tmp_path / "results"
    assert main.main([*arguments, "--out", str(out)]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"rnnlab: error: {message}")
    assert "\n" not in error
    assert not out.exists()


def test_an_interrupt_keeps_the_rows_so_far(tmp_path, capsys, monkeypatch):
    def interrupt(path, row, append=records.append):
        if path.exists() and len(path.read_text().splitlines()) == 3:
            raise KeyboardInterrupt
        append(path, row)

    monkeypatch.setattr(records, "append", interrupt)
    arguments = ["speedup", "--cells", "gru", "mingru", *SMALL, "--out", str(tmp_path)]
    assert main.main(arguments) == 130
    assert len(list(records.read(tmp_path / "speedup.jsonl"))) == 3
    captured = capsys.readouterr()
    assert "interrupted" in captured.err
    assert "gru" in captured.out


def test_rows_are_added_to_those_that_are_there(tmp_path):
    path = tmp_path / "results" / "x.jsonl"
    records.append(path, {"a": 1})
    records.append(path, {"a": 2})
    assert list(records.read(path)) == [{"a": 1}, {"a": 2}]


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(ValueError, match=r"x\.jsonl, line 2, is not JSON"):
        list(records.read(path))


def test_ratio_and_papers_figure_stand_in_the_table():
    base = {
        "pass": "train",
        "length": 512,
        "started": "now",
        "batch_size": 1,
        "width": 1,
        "dtype": "float32",
        "processor": "p",
        "platform": "cpu",
        "cores": 2,
        "versions": {"jax": "0"},
        "step_seconds_q1": 1,
        "step_seconds_q3": 1,
        "tokens_per_second": 1,
        "temp_bytes": 1,
        "compile_seconds": 1,
        "backend": "b",
    }
    loop = base | {"cell": "gru", "implementation": "Python loop", "step_seconds": 6.0}
    minimal = base | {"cell": "mingru", "implementation": "rnnlab", "step_seconds": 1.5}
    table = speedup_table.table([loop, minimal])
    assert table.lines[0][-2:] == ("4.00", str(speedup_table.PAPER["gru", 512]))
    assert table.lines[1][-2:] == ("1.00", "")
    text = markdown(table, ["cell", "× minimal cell"])
    assert text.splitlines()[2] == "| gru | 4.00 |"
    assert json.dumps(loop)


def test_quick_is_smaller():
    quick, full = speedup.Speedup(quick=True).resolved(), speedup.Speedup().resolved()
    assert set(quick.lengths) < set(full.lengths)
    assert quick.passes == ("train",)
    assert speedup.Speedup(quick=True, repeats=9).resolved().repeats == 9
