"""Tables of the records of benchmarks, as they stand on pages."""

from collections.abc import Sequence

import readme_tables  # next to this file
from committed_records import committed_records
from page_tables import by_cell, folded, page_table, pivoted, with_details

from rnnlab.bench import speedup_table
from rnnlab.bench.accuracy import AccuracyBenchmark
from rnnlab.bench.base import Benchmark
from rnnlab.bench.export import ExportBenchmark
from rnnlab.bench.libraries import LibrariesBenchmark
from rnnlab.bench.scan import ScanBenchmark
from rnnlab.records import Record
from rnnlab.tables import format_ms


def bench(name: str, benchmark: type[Benchmark]) -> str:
    """A benchmark's table below its conclusion."""
    records = committed_records(name)
    return page_table(benchmark.table(records), benchmark.conclusion(records))


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


def accuracy(name: str) -> str:
    """The errors in float32, and in all dtypes folded."""
    records = committed_records(name)
    full = AccuracyBenchmark.table(records)
    at = full.headings.index("dtype")
    short = full._replace(lines=[line for line in full.lines if line[at] == "float32"])
    return with_details(short, full, AccuracyBenchmark.conclusion(records))


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


def shape(record: Record) -> str:
    return " × ".join(str(record[key]) for key in ("batch_size", "length", "width"))
