"""Puts the experiments' rows into the pages, between the markers that name them.

Command:  python tools/update_tables.py

A page holds `<!-- rows: NAME -->` and `<!-- end -->`; what stands between them is written from the
committed rows, and a test fails where the two differ. No number is typed by hand.
"""

import re
from collections.abc import Callable
from pathlib import Path

import claims  # next to this file
import readme_tables
import reliability_tables

from rnnlab.bench import (
    accuracy,
    language_model,
    layer,
    libraries,
    malloc,
    newton_convergence,
    scaling,
    scan,
    speedup_table,
    streaming,
)
from rnnlab.cli.compare import result_table
from rnnlab.cli.summary_table import summary_table
from rnnlab.records import Record, read
from rnnlab.registry import REGISTRY
from rnnlab.tables import Table, device_label, markdown, format_ms, times

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
PAGES = (
    "README.md",
    "docs/scan.md",
    "docs/benchmarks.md",
    "docs/performance.md",
    "docs/results.md",
    "docs/claims.md",
    "docs/reliability.md",
    "docs/bad-input.md",
    "docs/guides/choose-a-cell.md",
)
# Figures that publications report, each on its own terms, by experiment.
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
    "temporaries, MB",
    "× minimal cell",
    speedup_table.PAPER_HEADING,
)


def training(name: str) -> str:
    rows = _rows(name)
    chosen = [r for r in rows if r["pass"] == "train"]
    return markdown(speedup_table.table(chosen), SPEEDUP_COLUMNS)


def full(name: str, table: Callable[[list[Record]], object]) -> str:
    return markdown(table(_rows(name)))


def tried_table(measured: list[Record]) -> Table:
    headings = (
        "what",
        "batch × time × width",
        "how",
        "time, ms",
        "× as it is",
        "quartiles",
        "temporaries, MB",
    )
    lines = [
        (
            r["what"],
            " × ".join(map(str, r["shape"])),
            r["how"],
            format_ms(r["seconds"]),
            times(r["ratio"]),
            f"{r['ratio_q1']:.2f} to {r['ratio_q3']:.2f}",
            f"{r['temp_bytes'] / 1e6:,.0f}",
        )
        for r in measured
    ]
    title = f"pages kept, on {device_label(measured[0])}; float32"
    return Table(title, headings, lines, frozenset())


def parameters_table(measured: list[Record]) -> Table:
    headings = ("cell", "input × state", "parameters", "classic cell", "its parameters", "share")
    lines = [
        (
            r["cell"],
            f"{r['in_features']} × {r['features']}",
            f"{r['parameters']:,}",
            r["classic"],
            f"{r['classic_parameters']:,}",
            f"{r['parameters'] / r['classic_parameters']:.1%}",
        )
        for r in measured
    ]
    return Table("bare cells, biases included", headings, lines, frozenset())


def gradients_table(measured: list[Record]) -> Table:
    headings = (
        "cell",
        "size of inputs",
        "rate a step",
        "by the Lyapunov exponent",
        "left after 50 steps",
    )
    lines = [
        (
            r["cell"],
            f"{r['input_size']:g}",
            f"{r['rate']:.4f}",
            f"{r['lyapunov_rate']:.4f}",
            f"{r['kept_after_50']:.1e}",
        )
        for r in measured
    ]
    title = f"{measured[0]['width']} features over {measured[0]['length']:,} steps"
    return Table(title, headings, lines, frozenset())


def ngram_table(measured: list[Record]) -> Table:
    headings = (
        "text",
        "characters",
        "context length",
        "D1, D2, D3+",
        "valid nll",
        "test nll",
        "baseline",
        "seconds",
    )
    roles = {(True, True): "chosen", (True, False): "candidate", (False, False): ""}
    lines = [
        (
            r["text"],
            f"{r['characters']:,}",
            str(r["context_length"]),
            ", ".join(f"{discount:.2f}" for discount in r["discounts"]),
            f"{r['valid_nll']:.4f}",
            f"{r['test_nll']:.4f}",
            roles[r["candidate"], r["chosen"]],
            f"{r['seconds']:.1f}",
        )
        for r in measured
    ]
    title = f"interpolated modified Kneser-Ney, nats per character; {machine(measured[0])}"
    return Table(title, headings, lines, frozenset())


TRAININGS = (
    *("adding", "adding_lengths", "char_lm", "chorales", "chorales_jsb", "context_length"),
    *("copy_memory", "data_efficiency", "forecasting", "formal_languages", "listops", "mqar"),
    *("parity", "selective_copying", "sequential_digits", "shakespeare", "shakespeare_paper"),
    "vowels",
)
"""Experiments that train, whose results the summary shows."""

TABLES: dict[str, Callable[[], str]] = {
    "cells": lambda: cells_table(),
    "speedup, in short": lambda: full("speedup", readme_tables.speedup),
    "speedup in full": lambda: full("speedup", speedup_table.table),
    "speedup at the paper's size": lambda: training("speedup_paper_size"),
    "scan floor": lambda: full("scan_bandwidth", scan.table),
    "layer floor": lambda: full("layer_overhead", layer.table),
    "scan error": lambda: full("scan_accuracy", accuracy.table),
    "scan floor, pages kept": lambda: full("scan_bandwidth_malloc_kept", scan.table),
    "layer floor, pages kept": lambda: full("layer_overhead_malloc_kept", layer.table),
    "peers": lambda: full("libraries", libraries.table),
    "growth": lambda: full("scaling", scaling.table),
    "streaming": lambda: full("streaming", streaming.table),
    "newton": lambda: full("newton", newton_convergence.table),
    "allocator": lambda: full("malloc", malloc.table),
    "tried on cpu": lambda: full("cpu_ablations", tried_table),
    "language model step": lambda: full("language_model", language_model.table),
    "results": lambda: summary(),
    "results, in short": lambda: markdown(readme_tables.results(_training_rows())),
    "claims": lambda: markdown(claims.claims_table()),
    "parameters": lambda: full("parameters", parameters_table),
    "ngram baselines": lambda: full("ngram_baselines", ngram_table),
    "gradients": lambda: full("gradients", gradients_table),
    "reliability": lambda: full("reliability", reliability_tables.table),
    "bad inputs": lambda: full("bad_input", reliability_tables.inputs_table),
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
    return markdown(summary_table(_training_rows(), PAPER))


def _training_rows() -> list[Record]:
    return [row for name in TRAININGS for row in _rows(name)]


def filled(page: str) -> str:
    """A page's text with its tables made anew."""

    def table(match: re.Match) -> str:
        return f"<!-- rows: {match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- rows: (.*?) -->\n.*?<!-- end -->", table, page, flags=re.DOTALL)


def _rows(name: str) -> list[Record]:
    return list(map(_with_kneser_ney, read(RESULTS / name / "rows.jsonl")))


def _with_kneser_ney(record: Record) -> Record:
    """A language model's record with the Kneser-Ney baseline of its text.

    Records from before that baseline hold a 5-gram with absolute discounting, a weaker predictor.
    """
    if "5-gram" not in record.get("floors", {}):
        return record
    floors = {name: values for name, values in record["floors"].items() if name != "5-gram"}
    return record | {"floors": floors | {"Kneser-Ney n-gram": {"nll": claims.ngram_nll(record)}}}


if __name__ == "__main__":
    for page in PAGES:
        path = ROOT / page
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
