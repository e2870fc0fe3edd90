"""The speedup benchmark's rows side by side: every form over its minimal twin, the paper beside."""

from collections.abc import Sequence

from rnnlab.records import Record
from rnnlab.registry import minimal_counterparts
from rnnlab.tables import Table, machine, milliseconds, times

CLASSIC_COUNTERPART = minimal_counterparts()
"""The minimal cell that each classic cell is compared with."""

OWN = "your own"
"""The implementation of cells that are not rnnlab's; minGRU stands for them."""

# Training time of the classic cell over that of the minimal one, on a T4 GPU, batch 64, against a
# Python loop: arXiv 2410.01201, section 4.1 and figure 1.
PAPER = {("gru", 512): 175, ("lstm", 512): 235, ("gru", 4096): 1324, ("lstm", 4096): 1361}
PAPER_HEADING = "paper's × (T4 GPU, its Python loop)"


def minimal_seconds(rows: Sequence[Record], row: Record) -> float | None:
    """Seconds of the minimal cell that `row` is compared with, measured in the same turns.

    It is rnnlab's minGRU for GRU rows and those of cells that are not rnnlab's, and minLSTM for
    LSTM rows, on the first backend measured.
    """
    cell = CLASSIC_COUNTERPART.get(row["cell"], row["cell"])
    if row["implementation"] == OWN:
        cell = CLASSIC_COUNTERPART["gru"]
    if cell not in CLASSIC_COUNTERPART.values():
        return None
    for other in rows:
        same = all(other[k] == row[k] for k in ("pass", "length", "started"))
        if same and other["cell"] == cell and other["implementation"] == "rnnlab":
            return other["step_seconds"]
    return None


def table(rows: Sequence[Record]) -> Table:
    headings = (
        "pass",
        "length",
        "cell",
        "implementation",
        "backend",
        "step, ms",
        "quartiles, ms",
        "tokens/s",
        "temporaries, MB",
        "compile, s",
        "× minimal cell",
        PAPER_HEADING,
    )
    lines, breaks = [], set()
    for k, row in enumerate(rows):
        minimal = minimal_seconds(rows, row)
        paper = None
        if row["implementation"] == "Python loop" and row["pass"] == "train":
            paper = PAPER.get((row["cell"], row["length"]))
        lines.append(
            (
                row["pass"],
                str(row["length"]),
                row["cell"],
                row["implementation"],
                row["backend"],
                milliseconds(row["step_seconds"]),
                f"{milliseconds(row['step_seconds_q1'])} to {milliseconds(row['step_seconds_q3'])}",
                f"{row['tokens_per_second']:,.0f}",
                "" if row["temp_bytes"] is None else f"{row['temp_bytes'] / 1e6:,.1f}",
                "" if row["compile_seconds"] is None else f"{row['compile_seconds']:.2f}",
                "" if minimal is None else times(row["step_seconds"] / minimal),
                "" if paper is None else f"{paper}",
            )
        )
        following = rows[k + 1] if k + 1 < len(rows) else row
        if (following["pass"], following["length"]) != (row["pass"], row["length"]):
            breaks.add(k)
    return Table(describe(rows), headings, lines, frozenset(breaks))


def describe(rows: Sequence[Record]) -> str:
    """Where the rows were measured, in one line."""
    row = rows[0]
    torch = f", torch {row['versions']['torch']}" if "torch" in row["versions"] else ""
    return f"{machine(row)}{torch}; batch {row['batch_size']}, width {row['width']}, {row['dtype']}"
