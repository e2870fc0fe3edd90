"""Tables of the records of trainings and studies, as they stand on pages."""

from collections.abc import Callable
from pathlib import Path

from committed_records import RESULTS, committed_records  # next to this file
from page_tables import folded, page_table, pivoted, with_details

from rnnlab import load_module
from rnnlab.cli.compare import result_table
from rnnlab.records import Record
from rnnlab.tables import Table

STUDIES = Path(__file__).parent.parent / "experiments" / "studies"


def full(name: str, table: Callable[[list[Record]], Table]) -> str:
    """All records of an experiment as a table."""
    return page_table(table(committed_records(name)))


def once_recorded(name: str) -> str:
    """All records of a training; a sentence where it has not been run."""
    if not (RESULTS / name / "rows.jsonl").exists():
        return "The results are not recorded yet."
    return full(name, result_table)


def study(name: str, records: str | None = None, table: str = "table") -> str:
    """A table that a study of experiments/studies defines, by default of its own records."""
    module = load_module.load(STUDIES / f"{name}.py", "a study")
    return full(records or name, getattr(module, table))


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
