"""Puts the experiments' rows into the pages, between the markers that name them.

Command:  python experiments/pages.py

A page holds `<!-- rows: NAME -->` and `<!-- end -->`; what stands between them is written from the
committed rows, and a test fails where the two differ. No number is typed by hand.
"""

import re
from collections.abc import Callable
from pathlib import Path

import claims  # beside this file, as is reliability
import reliability

from rnnlab.bench import (
    accuracy,
    allocator,
    comparison,
    growth,
    language_model,
    layer,
    newton,
    peers,
    scan,
    streaming,
)
from rnnlab.commands.compare import result_table
from rnnlab.commands.summary import summary_table
from rnnlab.rows import Row, read
from rnnlab.tables import Table, machine, markdown, milliseconds, times

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    "docs/scan.md",
    "docs/benchmarks.md",
    "docs/performance.md",
    "docs/results.md",
    "docs/claims.md",
    "docs/reliability.md",
    "docs/bad-input.md",
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
    comparison.PAPER_HEADING,
)


def training(name: str) -> str:
    rows = _rows(f"{name}/speedup.jsonl")
    chosen = [r for r in rows if r["pass"] == "train"]
    return markdown(comparison.table(chosen), SPEEDUP_COLUMNS)


def full(name: str, table: Callable[[list[Row]], object]) -> str:
    return markdown(table(_rows(name)))


def tried_table(measured: list[Row]) -> Table:
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
            milliseconds(r["seconds"]),
            times(r["ratio"]),
            f"{r['ratio_q1']:.2f} to {r['ratio_q3']:.2f}",
            f"{r['temp_bytes'] / 1e6:,.0f}",
        )
        for r in measured
    ]
    title = f"pages kept, on {machine(measured[0])}; float32"
    return Table(title, headings, lines, frozenset())


def parameters_table(measured: list[Row]) -> Table:
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


def gradients_table(measured: list[Row]) -> Table:
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


TABLES: dict[str, Callable[[], str]] = {
    "speedup": lambda: training("speedup"),
    "speedup in full": lambda: full("speedup/speedup.jsonl", comparison.table),
    "speedup at the paper's size": lambda: training("speedup_paper_size"),
    "scan floor": lambda: full("scan_floor/scan.jsonl", scan.table),
    "layer floor": lambda: full("layer_floor/layer.jsonl", layer.table),
    "scan error": lambda: full("scan_error/accuracy.jsonl", accuracy.table),
    "scan floor, pages kept": lambda: full("kept_pages/scan.jsonl", scan.table),
    "layer floor, pages kept": lambda: full("kept_pages/layer.jsonl", layer.table),
    "peers": lambda: full("peers/peers.jsonl", peers.table),
    "growth": lambda: full("growth/growth.jsonl", growth.table),
    "streaming": lambda: full("streaming/streaming.jsonl", streaming.table),
    "newton": lambda: full("newton/newton.jsonl", newton.table),
    "allocator": lambda: full("allocator/allocator.jsonl", allocator.table),
    "tried on cpu": lambda: full("tried_on_cpu/tried.jsonl", tried_table),
    "language model step": lambda: full("language_model/lm.jsonl", language_model.table),
    "results": lambda: summary(),
    "claims": lambda: markdown(claims.claims_table()),
    "parameters": lambda: full("parameters/parameters.jsonl", parameters_table),
    "gradients": lambda: full("gradients/gradients.jsonl", gradients_table),
    "reliability": lambda: full("reliability/results.jsonl", reliability.table),
    "bad inputs": lambda: full("reliability/inputs.jsonl", reliability.inputs_table),
    "char_lm, tried": lambda: full("results/tried/char_lm.jsonl", result_table),
    "formal_languages, tried": lambda: full("results/tried/formal_languages.jsonl", result_table),
    **{
        path.stem: lambda name=path.stem: full(f"results/{name}.jsonl", result_table)
        for path in sorted((ROOT / "experiments" / "results").glob("*.jsonl"))
    },
}


def summary() -> str:
    """All experiments' results in one table."""
    files = sorted((ROOT / "experiments" / "results").glob("*.jsonl"))
    return markdown(summary_table([row for path in files for row in read(path)], PAPER))


def filled(page: str) -> str:
    """A page's text with its tables made anew."""

    def table(match: re.Match) -> str:
        return f"<!-- rows: {match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- rows: (.*?) -->\n.*?<!-- end -->", table, page, flags=re.DOTALL)


def _rows(name: str) -> list[Row]:
    return list(read(ROOT / "experiments" / name))


if __name__ == "__main__":
    for page in PAGES:
        path = ROOT / page
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
