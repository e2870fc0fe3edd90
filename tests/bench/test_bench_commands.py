"""`rnnlab speedup` and `rnnlab bench`: files, tables, exit codes and one-line errors."""

import json

import jax
import pytest

from rnnlab import records
from rnnlab.bench import speedup_table
from rnnlab.bench.base import find_device
from rnnlab.bench.scan import ScanBenchmark
from rnnlab.bench.speedup import SpeedupBenchmark
from rnnlab.cli import main
from rnnlab.tables import markdown

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

SMALL = ["--lengths", "4", "--batch-size", "2", "--width", "4", "--repeats", "2"]


def test_speedup_writes_records_figure_and_table(tmp_path, capsys):
    arguments = ["speedup", "--cells", "gru", "mingru", *SMALL, "--out", str(tmp_path)]
    assert main.main(arguments) == 0
    measured = list(records.read(tmp_path / "rows.jsonl"))
    expected = {("gru", "rnnlab", "scan"), ("gru", "flax.nnx.RNN", "scan")}
    expected |= {("gru", "Python loop", "step"), ("mingru", "rnnlab", "sequential")}
    expected |= {("mingru", "rnnlab", "associative")}
    for pass_ in ("forward", "train"):
        chosen = [r for r in measured if r["pass"] == pass_]
        assert expected <= {(r["cell"], r["implementation"], r["backend"]) for r in chosen}
    for r in measured:
        assert r["step_seconds_q1"] <= r["step_seconds"] <= r["step_seconds_q3"]
        assert r["tokens_per_second"] == pytest.approx(2 * r["length"] / r["step_seconds"])
        for key in ("device", "versions", "xla_flags", "command", "seed", "dtype", "width"):
            assert key in r
        if r["implementation"] in ("rnnlab", "flax.nnx.RNN"):
            assert r["compile_seconds"] > 0
            assert r["temp_bytes"] is not None
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert speedup_table.RATIO_HEADING in printed
    assert "mingru" in printed


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("scan", ["--shapes", "2x8x4", "--repeats", "2"]),
        ("layer", ["--shapes", "2x8x4", "--repeats", "2"]),
        ("accuracy", ["--lengths", "8", "--width", "2", "--dtypes", "float32"]),
        ("libraries", ["--shapes", "2x8x4", "--cells", "gru", "mingru", "--repeats", "2"]),
        (
            "scaling",
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
        (
            "export",
            [
                *("--cells", "mingru", "--batches", "2", "--threads", "1", "--width", "8"),
                *("--depth", "1", "--steps", "3", "--repeats", "1"),
            ],
        ),
        ("newton", ["--shapes", "1x8x4", "--cells", "lstm", "--repeats", "1"]),
    ],
)
def test_bench_every_benchmark_writes_records(tmp_path, name, options):
    if name == "export":
        pytest.importorskip("onnxruntime")
    assert main.main(["bench", name, *options, "--out", str(tmp_path)]) == 0
    measured = list(records.read(tmp_path / "rows.jsonl"))
    assert measured
    assert {r["benchmark"] for r in measured} == {name}


@pytest.mark.parametrize(
    ("arguments", "option", "found"),
    [
        (["speedup", "--device", "tpu"], "device", "tpu"),
        (["speedup", "--cells", "gruu"], "cell", "gruu"),
        (["speedup", "--cells", "transformer"], "cell", "transformer"),
        (["speedup", "--lengths", "0"], "lengths", "0"),
        (["speedup", "--lengths"], "lengths", "empty"),
        (["speedup", "--dtype", "int8"], "dtype", "int8"),
        (["speedup", "--backend", "fast"], "backend", "fast"),
        (["speedup", "--passes", "back"], "passes", "back"),
        (["speedup", "--repeats", "0"], "repeats", "0"),
        (["bench", "scan", "--shapes", "8x9"], "a shape", "8x9"),
        (["bench", "libraries", "--cells", "s4"], "cell", "s4"),
        (["bench", "scaling", "--axes", "depth"], "axes", "depth"),
        (["bench", "scaling", "--lengths", "0"], "lengths", "0"),
        (["bench", "streaming", "--cells", "s4"], "cell", "s4"),
        (["bench", "newton", "--cells", "mingru"], "cell", "mingru"),
        (["bench", "malloc", "--rounds", "0"], "rounds", "0"),
    ],
)
def test_bench_invalid_option_exits_2_with_one_line(tmp_path, capsys, arguments, option, found):
    out = tmp_path / "results"
    assert main.main([*arguments, "--out", str(out)]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"rnnlab: error: {option}")
    assert found in error
    assert "\n" not in error
    assert not out.exists()


def test_speedup_interrupt_keeps_the_records_so_far(tmp_path, capsys, monkeypatch):
    def interrupt(path, record, append=records.append):
        if path.exists() and len(path.read_text().splitlines()) == 3:
            raise KeyboardInterrupt
        append(path, record)

    monkeypatch.setattr(records, "append", interrupt)
    arguments = ["speedup", "--cells", "gru", "mingru", *SMALL, "--out", str(tmp_path)]
    assert main.main(arguments) == 130
    assert len(list(records.read(tmp_path / "rows.jsonl"))) == 3
    captured = capsys.readouterr()
    assert "interrupted" in captured.err
    assert "gru" in captured.out


BASE = {
    "pass": "train",
    "length": 512,
    "started": "now",
    "batch_size": 1,
    "width": 1,
    "dtype": "float32",
    "processor": "p",
    "platform": "cpu",
    "device": "cpu",
    "cores": 2,
    "versions": {"jax": "0"},
    "step_seconds_q1": 1,
    "step_seconds_q3": 1,
    "tokens_per_second": 1,
    "temp_bytes": 1,
    "compile_seconds": 1,
    "backend": "b",
}


def test_speedup_table_shows_the_ratio_and_the_papers_figure():
    loop = BASE | {"cell": "gru", "implementation": "Python loop", "step_seconds": 6.0}
    minimal = BASE | {"cell": "mingru", "implementation": "rnnlab", "step_seconds": 1.5}
    table = speedup_table.table([loop, minimal])
    assert table.lines[0][-2:] == ("4.00", str(speedup_table.PAPER["gru", 512]))
    assert table.lines[1][-2:] == ("1.00", "")
    text = markdown(table, ["cell", speedup_table.RATIO_HEADING])
    assert text.splitlines()[2] == "| gru | 4.00 |"
    assert json.dumps(loop)


def test_benchmark_table_reads_records_of_earlier_versions(tmp_path):
    old = BASE | {"seconds": 3e-3, "floor_seconds": 2e-3, "ratio": 1.5, "ratio_q1": 1.4}
    old |= {"benchmark": "scan", "ratio_q3": 1.6}
    records.append(tmp_path / "rows.jsonl", old)
    (line,) = ScanBenchmark.table(list(records.read(tmp_path / "rows.jsonl"))).lines
    assert line[3:6] == (
        "3.00",
        "2.00",
        "1.50",
    )


def test_speedup_quick_is_smaller():
    quick, full = SpeedupBenchmark(quick=True).resolved(), SpeedupBenchmark().resolved()
    assert set(quick.lengths) < set(full.lengths)
    assert quick.passes == ("train",)
    assert SpeedupBenchmark(quick=True, repeats=9).resolved().repeats == 9


def test_find_device_auto_is_the_default_device():
    assert find_device("auto") == jax.devices()[0]
