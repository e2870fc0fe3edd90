"""The speedup benchmark's records as a table: every variant relative to its minimal cell."""

from collections.abc import Sequence

from rnnlab.bench.base import COMPILE, TEMP_MEMORY, Column, key_column, make_table, time_quartiles
from rnnlab.plotting import cell_label
from rnnlab.records import Record
from rnnlab.registry import REGISTRY, minimal_counterparts
from rnnlab.tables import Table, device_label, format_ms, format_range, format_ratio

USER = "user's cell"
"""The implementation of cells that are not rnnlab's; they are compared with minGRU."""

# Training time of the classic cell over that of the minimal one, on a T4 GPU, batch 64, against a
# Python loop: arXiv 2410.01201, section 4.1 and figure 1.
PAPER = {("gru", 512): 175, ("lstm", 512): 235, ("gru", 4096): 1324, ("lstm", 4096): 1361}
PAPER_HEADING = "paper: Python loop relative to minimal cell (T4 GPU)"
RATIO_HEADING = "relative to minimal cell"


def reference_cell(record: Record) -> str | None:
    """The minimal cell that a record is compared with, or None.

    It is the counterpart of a classic cell, the counterpart of the classic cell that another cell
    is compared with, and minGRU for a user's cell.
    """
    counterparts = minimal_counterparts()
    if record["implementation"] == USER:
        return counterparts["gru"]
    if (cell := record["cell"]) in counterparts.values():
        return cell
    entry = REGISTRY.get(cell)
    return counterparts.get(cell) or counterparts.get(entry and entry.compared_with)


def minimal_reference_seconds(measured: Sequence[Record], record: Record) -> float | None:
    """Seconds of the minimal cell that `record` is compared with, from the same rounds.

    The minimal cell's first measured backend counts. None if that was not measured.
    """
    cell = reference_cell(record)
    for other in measured:
        same = all(other[k] == record[k] for k in ("pass", "length", "started"))
        if same and other["cell"] == cell and other["implementation"] == "rnnlab":
            return other["step_seconds"]
    return None


def table(measured: Sequence[Record]) -> Table:
    """One table row per variant, pass and length."""

    def ratio(record: Record) -> str:
        minimal = minimal_reference_seconds(measured, record)
        return "" if minimal is None else format_ratio(record["step_seconds"] / minimal)

    columns = (
        *map(key_column, ("pass", "length", "cell", "implementation", "backend")),
        Column("step, ms", lambda r: format_ms(r["step_seconds"])),
        Column("quartiles, ms", lambda r: time_quartiles(r, "step_seconds")),
        Column("tokens/s", lambda r: f"{r['tokens_per_second']:,.0f}"),
        TEMP_MEMORY,
        COMPILE,
        Column(RATIO_HEADING, ratio),
        Column(PAPER_HEADING, _paper),
    )
    made = make_table(describe(measured), columns, measured, ("pass", "length"))
    return made._replace(optional=(PAPER_HEADING, *made.optional))


def conclusion(measured: Sequence[Record]) -> str:
    """The times of the fastest classic cell and of a Python loop over that of the minimal cell."""
    passes = {r["pass"] for r in measured}
    pass_ = "train" if "train" in passes else measured[0]["pass"]
    work = "A training step" if pass_ == "train" else "A forward pass"
    sentences = []
    for classic, minimal in minimal_counterparts().items():
        fastest, loops = {}, {}
        for r in measured:
            seconds = minimal_reference_seconds(measured, r)
            if (r["cell"], r["pass"]) != (classic, pass_) or seconds is None:
                continue
            if r["implementation"] == "Python loop":
                loops[r["length"]] = r["step_seconds"] / seconds
            ratio, name = r["step_seconds"] / seconds, r["implementation"]
            fastest[r["length"]] = min((ratio, name), fastest.get(r["length"], (ratio, name)))
        if not fastest:
            continue
        ratios = format_range(ratio for ratio, _ in fastest.values())
        names = " or ".join(dict.fromkeys(name for _, name in fastest.values()))
        sentence = (
            f"{work} of the fastest {cell_label(classic)} ({names}) takes {ratios} times as long "
            f"as one of rnnlab's {cell_label(minimal)}"
        )
        if loops:
            sentence += f", and that of a Python loop {format_range(loops.values())} times"
            papers = [PAPER[classic, n] for n in loops if (classic, n) in PAPER]
            if papers and pass_ == "train":
                paper = format_range(papers, str)
                sentence += f" (the paper, on a T4 GPU: {paper})"
        sentences.append(sentence + ".")
    return " ".join(sentences) or "No classic cell was timed next to its minimal cell."


def describe(measured: Sequence[Record]) -> str:
    """The machine and the sizes, in one line."""
    first = measured[0]
    torch = f", torch {first['versions']['torch']}" if "torch" in first["versions"] else ""
    sizes = f"batch {first['batch_size']}, width {first['width']}, {first['dtype']}"
    return f"{device_label(first)}{torch}; {sizes}"


def _paper(record: Record) -> str:
    if record["implementation"] != "Python loop" or record["pass"] != "train":
        return ""
    return str(PAPER.get((record["cell"], record["length"]), ""))
