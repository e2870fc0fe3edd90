"""Writes the tables of the pages from the experiments' records.

Command:  python tools/update_tables.py

A page contains `<!-- rows: NAME -->` and `<!-- end -->`. The text between them is written from the
committed records, and a test fails if the two differ: no number is typed by hand.
"""

import re
from collections.abc import Callable
from pathlib import Path

import claims  # next to this file
import readme_tables
import reliability_tables
from committed_records import committed_records

from rnnlab import load_module
from rnnlab.bench import speedup_table
from rnnlab.bench.accuracy import AccuracyBenchmark
from rnnlab.bench.language_model import LanguageModelBenchmark
from rnnlab.bench.layer import LayerBenchmark
from rnnlab.bench.libraries import LibrariesBenchmark
from rnnlab.bench.malloc import MallocBenchmark
from rnnlab.bench.newton_convergence import NewtonBenchmark
from rnnlab.bench.scaling import ScalingBenchmark
from rnnlab.bench.scan import ScanBenchmark
from rnnlab.bench.streaming import StreamingBenchmark
from rnnlab.cli.compare import result_table
from rnnlab.cli.summary_table import summary_table
from rnnlab.records import Record
from rnnlab.registry import REGISTRY
from rnnlab.tables import Table, markdown

ROOT = Path(__file__).parent.parent
STUDIES = ROOT / "experiments" / "studies"
PAGES = (
    "README.md",
    "docs/scan.md",
    "docs/benchmarks.md",
    "docs/performance.md",
    "docs/gpu.md",
    "docs/results.md",
    "docs/claims.md",
    "docs/reliability.md",
    "docs/bad-input.md",
    "docs/guides/choose-a-cell.md",
)
# Figures that publications report, each in its own setting, by experiment.
PAPER = {
    "adding": "LSTM 0.164, GRU 5.3e-5, TCN 5.8e-5 (1803.01271)",
    "char_lm": "minGRU 1.548, minLSTM 1.555, Mamba 1.575, Transformer 1.547 on Shakespeare "
    "(2410.01201)",
    "chorales": "on the .mat file LSTM 8.45, GRU 8.43, RNN 8.91, TCN 8.10 (1803.01271)",
    "copy_memory": "LSTM 0.0204, GRU 0.0197, TCN 3.5e-5 after 1000 steps (1803.01271)",
    "selective_copying": "minGRU 0.995 at length 4096, 3 layers (2410.01201)",
}
SPEEDUP_COLUMNS = (
    "length",
    "cell",
    "implementation",
    "backend",
    "step, ms",
    "tokens/s",
    "XLA temp memory, MB",
    speedup_table.RATIO_HEADING,
    speedup_table.PAPER_HEADING,
)


def training_steps(name: str) -> str:
    """The training steps of a speedup benchmark, without the columns of the full table."""
    chosen = [r for r in committed_records(name) if r["pass"] == "train"]
    return markdown(speedup_table.table(chosen), SPEEDUP_COLUMNS)


def full(name: str, table: Callable[[list[Record]], Table]) -> str:
    """All records of an experiment as a table."""
    return markdown(table(committed_records(name)))


def study(name: str, records: str | None = None, table: str = "table") -> str:
    """A table that a study of experiments/studies defines, by default of its own records."""
    module = load_module.load(STUDIES / f"{name}.py", "a study")
    return full(records or name, getattr(module, table))


TRAININGS = (
    *(
        "adding",
        "adding_lengths",
        "char_lm",
        "char_lm_strong",
        "chorales",
        "chorales_jsb",
        "context_length",
    ),
    *("copy_memory", "data_efficiency", "forecasting", "formal_languages", "listops", "mqar"),
    *("parity", "selective_copying", "sequential_digits", "shakespeare", "shakespeare_paper"),
    "vowels",
)
"""Training experiments whose results the summary shows."""

TABLES: dict[str, Callable[[], str]] = {
    "cells": lambda: cells_table(),
    "speedup, in short": lambda: full("speedup", readme_tables.speedup),
    "speedup in full": lambda: full("speedup", speedup_table.table),
    "speedup at the paper's size": lambda: training_steps("speedup_paper_size"),
    "gpu speedup": lambda: training_steps("gpu_speedup"),
    "gpu parity": lambda: study("gpu", "gpu_parity", "parity_table"),
    "gpu bandwidth": lambda: study("gpu", "gpu_bandwidth", "bandwidth_table"),
    "gpu scan": lambda: full("gpu_scan", ScanBenchmark.table),
    "gpu libraries": lambda: full("gpu_libraries", LibrariesBenchmark.table),
    "scan bandwidth": lambda: full("scan_bandwidth", ScanBenchmark.table),
    "layer overhead": lambda: full("layer_overhead", LayerBenchmark.table),
    "scan accuracy": lambda: full("scan_accuracy", AccuracyBenchmark.table),
    "scan bandwidth, memory kept": lambda: full("scan_bandwidth_malloc_kept", ScanBenchmark.table),
    "layer overhead, memory kept": lambda: full("layer_overhead_malloc_kept", LayerBenchmark.table),
    "libraries": lambda: full("libraries", LibrariesBenchmark.table),
    "scaling": lambda: full("scaling", ScalingBenchmark.table),
    "streaming": lambda: full("streaming", StreamingBenchmark.table),
    "newton": lambda: full("newton", NewtonBenchmark.table),
    "malloc": lambda: full("malloc", MallocBenchmark.table),
    "cpu ablations": lambda: study("cpu_ablations"),
    "language model step": lambda: full("language_model", LanguageModelBenchmark.table),
    "results": lambda: summary(),
    "results, in short": lambda: markdown(readme_tables.results(_training_records())),
    "claims": lambda: markdown(claims.claims_table()),
    "parameters": lambda: study("parameters"),
    "ngram baselines": lambda: study("ngram_baselines"),
    "gradients": lambda: study("gradients"),
    "reliability": lambda: full("reliability", reliability_tables.table),
    "bad input": lambda: full("bad_input", reliability_tables.inputs_table),
    "char_lm_strong, tried": lambda: full("char_lm_strong_tried", result_table),
    "char_lm, tried": lambda: full("char_lm_tried", result_table),
    "formal_languages, tried": lambda: full("formal_languages_tried", result_table),
    **{name: lambda name=name: full(name, result_table) for name in TRAININGS},
}


def cells_table() -> str:
    """The registry as a table: every cell and layer, what it is, and its peers."""
    out = [
        "| name | label | description | replaces | in PyTorch |",
        "| --- | --- | --- | --- | --- |",
    ]
    for entry in REGISTRY.values():
        replaces = "" if entry.compared_with is None else REGISTRY[entry.compared_with].label
        torch = f"`torch.nn.{entry.torch}`" if (entry.torch or "").isidentifier() else entry.torch
        out.append(
            f"| `{entry.name}` | {entry.label} | {entry.summary} | {replaces} | {torch or ''} |"
        )
    return "\n".join(out)


def summary() -> str:
    """All experiments' results in one table."""
    return markdown(summary_table(_training_records(), PAPER))


def _training_records() -> list[Record]:
    return [record for name in TRAININGS for record in committed_records(name)]


def with_tables(page: str) -> str:
    """A page's text with its tables written from the records."""

    def table(match: re.Match) -> str:
        return f"<!-- rows: {match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- rows: (.*?) -->\n.*?<!-- end -->", table, page, flags=re.DOTALL)


if __name__ == "__main__":
    for page in PAGES:
        path = ROOT / page
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
