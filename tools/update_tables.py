"""Writes the tables of the pages from the experiments' records.

Command:  python tools/update_tables.py

A page contains `<!-- rows: NAME -->` and `<!-- end -->`. The text between them is written from the
committed records, and a test fails if the two differ: no number is typed by hand.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import claims  # next to this file
import forecast_tables
import front_numbers
import readme_tables
import reliability_tables
import results_tables
from committed_records import RESULTS, committed_records
from page_tables import by_cell, folded, page_table, pivoted, with_details

from rnnlab import load_module
from rnnlab.bench import speedup_table
from rnnlab.bench.accuracy import AccuracyBenchmark
from rnnlab.bench.base import Benchmark
from rnnlab.bench.export import ExportBenchmark
from rnnlab.bench.language_model import LanguageModelBenchmark
from rnnlab.bench.layer import LayerBenchmark
from rnnlab.bench.libraries import LibrariesBenchmark
from rnnlab.bench.malloc import MallocBenchmark
from rnnlab.bench.newton_convergence import NewtonBenchmark
from rnnlab.bench.scaling import ScalingBenchmark
from rnnlab.bench.scan import ScanBenchmark
from rnnlab.bench.serving import ServingBenchmark
from rnnlab.bench.serving_churn import ServingChurnBenchmark
from rnnlab.bench.streaming import StreamingBenchmark
from rnnlab.cli.compare import result_table
from rnnlab.records import Record
from rnnlab.registry import REGISTRY
from rnnlab.tables import Table, format_ms

ROOT = Path(__file__).parent.parent
STUDIES = ROOT / "experiments" / "studies"
PAGES = (
    "README.md",
    "docs/index.md",
    "docs/scan.md",
    "docs/benchmarks.md",
    "docs/performance.md",
    "docs/gpu.md",
    "docs/guides/series.md",
    "docs/guides/large-corpora.md",
    "docs/results.md",
    "docs/claims.md",
    "docs/reliability.md",
    "docs/bad-input.md",
    "docs/guides/choose-a-cell.md",
    "docs/deploy.md",
    "docs/scaling.md",
)


def training_steps(name: str, lengths: Sequence[int] = ()) -> str:
    """The training steps of a speedup benchmark: times per cell, and all of it folded."""
    chosen = [r for r in committed_records(name) if r["pass"] == "train"]
    short = readme_tables.speedup(chosen, lengths)
    return with_details(short, speedup_table.table(chosen), speedup_table.conclusion(chosen))


def forward_passes(name: str) -> str:
    """The forward passes of a speedup benchmark, folded."""
    chosen = [r for r in committed_records(name) if r["pass"] == "forward"]
    return folded(speedup_table.table(chosen))


def libraries(name: str) -> str:
    """Times per cell of several libraries, and all of it folded."""
    records = committed_records(name)
    shapes, position = list(map(shape, records)), readme_tables.implementation_position
    short = by_cell(
        sorted(records, key=lambda r: (r["pass"] != "train", shapes.index(shape(r)), position(r))),
        LibrariesBenchmark.title(records),
        "time in ms",
        lambda r: f"{r['pass']}, {shape(r)}: {readme_tables.implementation(r)}",
        lambda r: format_ms(r["seconds"]) if r["seconds"] else "not timed",
    )
    full = LibrariesBenchmark.table(records)
    return with_details(short, full, LibrariesBenchmark.conclusion(records))


def scan(name: str) -> str:
    """Times of the scan relative to the bandwidth bound, per backend, and all of it folded."""
    records = committed_records(name)
    full = ScanBenchmark.table(records)
    rows, order = ("batch × time × width", "pass"), ("pallas", "sequential", "associative")
    short = pivoted(full, rows, "backend", "× bandwidth bound", order)
    short = short._replace(title=f"{full.title}; times relative to the bandwidth bound")
    return with_details(short, full, ScanBenchmark.conclusion(records))


def bandwidth(name: str) -> str:
    """The scan's share of the bandwidth of a copy, per backend, and all of it folded."""
    module = load_module.load(STUDIES / "gpu.py", "a study")
    full = module.bandwidth_table(committed_records(name))
    rows = ("batch × time × width", "dtype", "pass")
    short = pivoted(full, rows, "backend", "share of a copy", ("pallas", "associative"))
    short = short._replace(title=f"{full.title}; bytes per second relative to a copy")
    return with_details(short, full)


def time_chunks(name: str) -> str:
    """The scan's share of the bandwidth of a copy, per number of chunks, and all of it folded."""
    full = load_module.load(STUDIES / f"{name}.py", "a study").table(committed_records(name))
    rows = ("batch × time × width", "thread blocks of one chunk", "pass")
    short = pivoted(full, rows, "chunks", "share of a copy", ())
    short = short._replace(
        title=f"{full.title}; bytes per second relative to a copy, by number of chunks"
    )
    return with_details(short, full)


def accuracy(name: str) -> str:
    """The errors in float32, and in all dtypes folded."""
    records = committed_records(name)
    full = AccuracyBenchmark.table(records)
    at = full.headings.index("dtype")
    short = full._replace(lines=[line for line in full.lines if line[at] == "float32"])
    return with_details(short, full, AccuracyBenchmark.conclusion(records))


def shape(record: Record) -> str:
    return " × ".join(str(record[key]) for key in ("batch_size", "length", "width"))


def bench(name: str, benchmark: type[Benchmark]) -> str:
    """A benchmark's table below its conclusion."""
    records = committed_records(name)
    return page_table(benchmark.table(records), benchmark.conclusion(records))


def full(name: str, table: Callable[[list[Record]], Table]) -> str:
    """All records of an experiment as a table."""
    return page_table(table(committed_records(name)))


def once_recorded(name: str, table: Callable[[], str] | None = None) -> str:
    """All records of a training, or another table of them; a sentence where it has not been run."""
    if not (RESULTS / name / "rows.jsonl").exists():
        return "The results are not recorded yet."
    return full(name, result_table) if table is None else table()


def study(name: str, records: str | None = None, table: str = "table") -> str:
    """A table that a study of experiments/studies defines, by default of its own records."""
    module = load_module.load(STUDIES / f"{name}.py", "a study")
    return full(records or name, getattr(module, table))


def compression(part: str) -> str:
    """A part of the study of smaller models below its finding, of seed 0, or all of its seeds."""
    module = load_module.load(STUDIES / "compression_parts" / "tables.py", "tables of a study")
    records = committed_records("compression")
    if part == "seeds":
        return page_table(module.seeds_table(records))
    records = [r for r in records if (r["part"], r["seed"]) == (part, 0)]
    if not records:
        return "The times are not measured yet."
    whole, finding = module.table(part, records), module.finding(part, records)
    if part == "sensitivity":
        return folded(whole)
    if part != "prune":
        return page_table(whole, finding)
    chosen = [
        r for r in records if r["criterion"] == "refit" or (r["share"], r["updates"]) == (0.25, 0)
    ]
    return with_details(module.table(part, chosen), whole, finding)


def exported_steps() -> str:
    """Exported steps at the faster number of threads, and all records folded."""
    records = committed_records("export")
    fastest: dict[tuple, Record] = {}
    for record in records:
        key = tuple(record[name] for name in ("cell", "batch_size", "implementation"))
        is_faster = key not in fastest or record["seconds"] < fastest[key]["seconds"]
        if is_faster and not record["implementation"].endswith("bound buffers"):
            fastest[key] = record
    tables = map(ExportBenchmark.table, (list(fastest.values()), records))
    return with_details(*tables, ExportBenchmark.conclusion(records))


TRAININGS = (
    *(
        "adding",
        "adding_lengths",
        "beat_anomalies",
        "char_lm",
        "char_lm_strong",
        "chorales",
        "chorales_jsb",
        "context_length",
    ),
    *("copy_memory", "data_efficiency", "forecasting", "formal_languages", "icu_mortality"),
    *(
        "listops",
        "load_forecast",
        "mqar",
        "parity",
        "rare_beats",
        "selective_copying",
        "sequential_digits",
    ),
    *("shakespeare", "shakespeare_paper", "turbofan", "vowels"),
)
"""Training experiments whose results the summary shows."""

COMPRESSION = (
    "quantize",
    "sensitivity",
    "prune",
    "seeds",
    "onnx",
    "onnx tried",
    "onnx static",
    "xla",
)
"""Parts of the study of smaller models."""

TABLES: dict[str, Callable[[], str]] = {
    "three numbers": front_numbers.numbers,
    "cells": lambda: cells_table(),
    "speedup": lambda: training_steps("speedup", (512, 2048)),
    "speedup, forward": lambda: forward_passes("speedup"),
    "speedup at the paper's size": lambda: training_steps("speedup_paper_size"),
    "gpu speedup": lambda: training_steps("gpu_speedup"),
    "gpu parity": lambda: study("gpu", "gpu_parity", "parity_table"),
    "gpu bandwidth": lambda: bandwidth("gpu_bandwidth"),
    "gpu scan": lambda: scan("gpu_scan"),
    "gpu time chunks": lambda: time_chunks("gpu_time_chunks"),
    "gpu newton": lambda: bench("gpu_newton", NewtonBenchmark),
    "gpu newton, TF32": lambda: bench("gpu_newton_tf32", NewtonBenchmark),
    "gpu libraries": lambda: libraries("gpu_libraries"),
    "scan bandwidth": lambda: scan("scan_bandwidth"),
    "layer overhead": lambda: bench("layer_overhead", LayerBenchmark),
    "scan accuracy": lambda: accuracy("scan_accuracy"),
    "scan bandwidth, memory kept": lambda: scan("scan_bandwidth_malloc_kept"),
    "layer overhead, memory kept": lambda: bench("layer_overhead_malloc_kept", LayerBenchmark),
    "libraries": lambda: libraries("libraries"),
    "scaling": lambda: bench("scaling", ScalingBenchmark),
    "streaming": lambda: bench("streaming", StreamingBenchmark),
    "export": lambda: exported_steps(),
    "torch threads": lambda: study("torch_threads"),
    "deployment": lambda: study("deployed_model", "deployment"),
    "serving": lambda: bench("serving", ServingBenchmark),
    "serving churn": lambda: bench("serving_churn", ServingChurnBenchmark),
    "newton": lambda: bench("newton", NewtonBenchmark),
    "malloc": lambda: bench("malloc", MallocBenchmark),
    "cpu ablations": lambda: study("cpu_ablations"),
    "language model step": lambda: bench("language_model", LanguageModelBenchmark),
    "forecasts of short series": lambda: with_details(
        forecast_tables.short_series(committed_records("forecasting_short")),
        result_table(committed_records("forecasting_short")),
    ),
    "losses": lambda: page_table(results_tables.losses(_training_records())),
    "scores": lambda: page_table(results_tables.scores(_training_records())),
    "published figures": results_tables.published,
    "results, in short": lambda: page_table(readme_tables.results(_training_records())),
    "claims": lambda: page_table(claims.claims_table()),
    "claims, evidence": lambda: claims.evidence(),
    **{f"compression, {part}": lambda part=part: compression(part) for part in COMPRESSION},
    "speech, beams": lambda: once_recorded("speech_beams", lambda: study("speech_beams")),
    "streaming speech": lambda: once_recorded(
        "streaming_speech", lambda: study("streaming_speech")
    ),
    "parameters": lambda: study("parameters"),
    "transducer loss": lambda: study("transducer_memory", table="loss_table"),
    "transducer joint": lambda: study("transducer_memory", table="joint_table"),
    "token files": lambda: study("token_files"),
    "token files, memory": lambda: study("token_files", table="memory_table"),
    "sequence parallel": lambda: study("sequence_parallel"),
    "virtual devices": lambda: study("virtual_devices"),
    "scaling forms": lambda: study("scaling_payloads", table="forms_table"),
    "scaling memory": lambda: study("scaling_payloads", table="memory_table"),
    "scaling projection": lambda: study("scaling_projection"),
    "icu reliability": lambda: study("icu_reliability"),
    "beat scores": lambda: study("beat_scores"),
    "nab": lambda: study("nab"),
    "load_forecast, Student t": lambda: full("load_forecast_student_t", result_table),
    "load, calibration": lambda: study("load_pit"),
    "load, ETS and ARIMA": lambda: study("load_classical"),
    "icu_mortality, tried": lambda: full("icu_mortality_tried", result_table),
    "ngram baselines": lambda: study("ngram_baselines"),
    "gradients": lambda: study("gradients"),
    "reliability": lambda: full("reliability", reliability_tables.table),
    "bad input": lambda: full("bad_input", reliability_tables.inputs_table),
    "forecasting_series": lambda: full("forecasting_series", result_table),
    "forecasting_bikes": lambda: full("forecasting_bikes", result_table),
    "char_lm_strong, tried": lambda: full("char_lm_strong_tried", result_table),
    "char_lm, tried": lambda: full("char_lm_tried", result_table),
    "beat_anomalies, reconstruction": lambda: full("beat_anomalies_reconstruction", result_table),
    "beat_anomalies, tried": lambda: full("beat_anomalies_tried", result_table),
    "rare_beats, tried": lambda: full("rare_beats_tried", result_table),
    "rare_beats, random split": lambda: full("rare_beats_random_split", result_table),
    "formal_languages, tried": lambda: full("formal_languages_tried", result_table),
    **{name: lambda name=name: full(name, result_table) for name in TRAININGS},
    **{
        name: lambda name=name: once_recorded(name.replace(", ", "_"))
        for name in (
            "sessions",
            "sessions, tried",
            "sessions, actions",
            "sketches",
            "sketches, tried",
            "speech",
            "speech, transducer",
            "speech, tried",
            "spoken_digits",
            "spoken_digits, speakers",
        )
    },
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
