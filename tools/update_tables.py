"""Writes the tables of the pages from the experiments' records.

Command:  python tools/update_tables.py

A page contains `<!-- rows: NAME -->` and `<!-- end -->`. The text between them is written from the
committed records, and a test fails if the two differ: no number is typed by hand.
"""

import re
from collections.abc import Callable
from pathlib import Path

import claims  # next to this file
import forecast_tables
import front_numbers
import readme_tables
import reliability_tables
import results_tables
from benchmark_tables import (
    accuracy,
    bench,
    exported_steps,
    forward_passes,
    libraries,
    scan,
    training_steps,
)
from committed_records import committed_records
from page_tables import page_table, with_details
from study_tables import bandwidth, compression, full, once_recorded, study, time_chunks

from rnnlab.bench.language_model import LanguageModelBenchmark
from rnnlab.bench.layer import LayerBenchmark
from rnnlab.bench.malloc import MallocBenchmark
from rnnlab.bench.newton_convergence import NewtonBenchmark
from rnnlab.bench.scaling import ScalingBenchmark
from rnnlab.bench.serving import ServingBenchmark
from rnnlab.bench.serving_churn import ServingChurnBenchmark
from rnnlab.bench.streaming import StreamingBenchmark
from rnnlab.cli.compare import result_table
from rnnlab.records import Record
from rnnlab.registry import REGISTRY

ROOT = Path(__file__).parent.parent
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


TRAININGS = (
    *("adding", "adding_lengths", "beat_anomalies", "char_lm", "char_lm_strong", "chorales"),
    *("chorales_jsb", "context_length", "copy_memory", "data_efficiency", "entities"),
    *("forecasting", "formal_languages", "icu_mortality", "listops", "load_forecast", "mqar"),
    *("parity", "pronunciation", "rare_beats", "selective_copying", "sequential_digits"),
    *("sessions", "shakespeare", "shakespeare_paper", "sketches", "speech", "spoken_digits"),
    *("translation", "turbofan", "vowels"),
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
    "speech, beams": lambda: study("speech_beams"),
    "streaming speech": lambda: study("streaming_speech"),
    "matrix scans, time": lambda: study("matrix_scans", table="time_table"),
    "matrix scans, error": lambda: study("matrix_scans", table="error_table"),
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
            "entities, cells",
            "entities, tried",
            "pronunciation, alignments",
            "pronunciation, beam",
            "pronunciation, cells",
            "pronunciation, input_feeding",
            "sessions, tried",
            "sessions, actions",
            "sketches, tried",
            "speech, cells",
            "speech, transducer",
            "speech, tried",
            "spoken_digits, cells",
            "spoken_digits, speakers",
            "translation, beam",
            "translation, cells",
            "translation, characters",
            "translation, input_feeding",
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
