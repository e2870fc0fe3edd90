"""Figures of benchmarks: what is drawn, under which names, from which records."""

from dataclasses import replace
from pathlib import Path

import pytest

from rnnlab import records
from rnnlab.bench.scan import ScanBenchmark
from rnnlab.bench.speedup import SpeedupBenchmark
from rnnlab.bench.speedup_table import USER
from rnnlab.cli.bench import _earlier_records

RESULTS = Path(__file__).parent.parent.parent / "experiments" / "results"


@pytest.fixture
def measured():
    """Training steps of the committed benchmark."""
    return [r for r in records.read(RESULTS / "speedup" / "rows.jsonl") if r["pass"] == "train"]


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_legend_names_variants_in_words(measured):
    axes = SpeedupBenchmark.figure(measured).axes
    assert {"GRU, rnnlab", "GRU, Flax (nnx.RNN)", "minGRU, rnnlab, parallel scan"} <= set(
        labels(axes[0])
    )
    assert "GRU, the paper: Python loop on a T4 GPU" in labels(axes[-1])
    for panel in axes:
        looks = [(line.get_color(), line.get_marker()) for line in panel.lines[:-1]]
        assert len(set(looks)) == len(looks)  # also without line styles


def test_single_length_has_a_named_row_per_variant(measured):
    one = [r for r in measured if r["length"] == 512]
    axes = SpeedupBenchmark.figure(one).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == sum("gru" in r["cell"] for r in one)
    assert names[0] == "GRU, rnnlab"
    assert axes.texts[0].get_text().endswith(" ms")


def test_no_panel_is_empty(measured):
    own = [
        r | {"cell": "MyCell", "implementation": USER, "backend": "default"}
        for r in measured
        if (r["cell"], r["backend"]) == ("mingru", "sequential")
    ]
    for chosen, count in ((measured, 4), (measured + own, 5)):
        axes = SpeedupBenchmark.figure(chosen).axes
        assert len(axes) == count
        assert all(panel.lines for panel in axes)


def test_figure_has_the_last_record_of_a_variant(measured):
    again = [r | {"started": "later", "step_seconds": 2 * r["step_seconds"]} for r in measured]
    first, second = (SpeedupBenchmark.figure(m).axes[0] for m in (measured, measured + again))
    assert len(second.lines) == len(first.lines)
    assert list(second.lines[0].get_ydata()) == [2 * y for y in first.lines[0].get_ydata()]


def test_earlier_comparable_records_are_in_the_figure(measured, tmp_path, capsys):
    benchmark = replace(SpeedupBenchmark(), out=tmp_path)
    this = [r | {"started": "now"} for r in measured if r["length"] == 128]
    long = [r for r in measured if r["length"] == 512]
    others = [
        long[0] | {"dtype": "bfloat16"},
        long[0] | {"width": 7},
        long[0] | {"pass": "forward"},
    ]
    for r in [*long, *others, *this]:
        records.append(tmp_path / "rows.jsonl", r)
    assert _earlier_records(benchmark, this) == long
    (tmp_path / "rows.jsonl").write_text("not JSON\n", encoding="utf-8")
    assert _earlier_records(benchmark, this) == []
    assert "earlier records are not drawn" in capsys.readouterr().err


def test_backends_have_the_same_colors_in_every_figure():
    def colors(name):
        axes = ScanBenchmark.figure(list(records.read(RESULTS / name / "rows.jsonl"))).axes[-1]
        return {line.get_label().split(",")[0]: line.get_color() for line in axes.lines}

    cpu, gpu = colors("scan_bandwidth"), colors("gpu_scan")
    assert cpu["associative"] == gpu["associative"]
    assert cpu["associative_scan"] == gpu["associative_scan"]
