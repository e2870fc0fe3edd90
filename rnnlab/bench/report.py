"""Result rows as tables: printed with rich, or as Markdown for a page."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rnnlab.bench.rows import Row
from rnnlab.bench.speedup import TWINS


class Table(NamedTuple):
    """A table as text: a title, headings, rows, and the rows after which a rule is drawn."""

    title: str
    headings: tuple[str, ...]
    lines: list[tuple[str, ...]]
    breaks: frozenset[int]


# Training time of the classic cell over that of the minimal one, on a T4 GPU, batch 64, against a
# Python loop: arXiv 2410.01201, section 4.1 and figure 1.
PAPER = {("gru", 512): 175, ("lstm", 512): 235, ("gru", 4096): 1324, ("lstm", 4096): 1361}
PAPER_HEADING = "paper's × (T4 GPU, its Python loop)"


def minimal_seconds(rows: Sequence[Row], row: Row) -> float | None:
    """Seconds of the minimal cell that `row` is compared with, measured in the same turns.

    It is rnnlab's minGRU for GRU rows and minLSTM for LSTM rows, on the first backend measured.
    """
    cell = TWINS.get(row["cell"], row["cell"])
    if cell not in TWINS.values():
        return None
    for other in rows:
        same = all(other[k] == row[k] for k in ("pass", "length", "started"))
        if same and other["cell"] == cell and other["implementation"] == "rnnlab":
            return other["step_seconds"]
    return None


def speedup_table(rows: Sequence[Row]) -> Table:
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


def describe(rows: Sequence[Row]) -> str:
    """Where the rows were measured, in one line."""
    row = rows[0]
    place = row["processor"] if row["platform"] == "cpu" else row["device"]
    cores = f", {row['cores']} cores" if row["platform"] == "cpu" else ""
    torch = f", torch {row['versions']['torch']}" if "torch" in row["versions"] else ""
    return (
        f"{place}{cores}; jax {row['versions']['jax']}{torch}; "
        f"batch {row['batch_size']}, width {row['width']}, {row['dtype']}"
    )


def milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.3g}" if seconds < 0.1 else f"{1e3 * seconds:,.0f}"


def times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def show(table: Table) -> None:
    """Prints a table."""
    from rich.console import Console
    from rich.table import Table as RichTable

    rich = RichTable(title=table.title, title_justify="left")
    for k, heading in enumerate(table.headings):
        numeric = all(_numeric(line[k]) for line in table.lines)
        rich.add_column(heading, justify="right" if numeric else "left")
    for k, line in enumerate(table.lines):
        rich.add_row(*line, end_section=k in table.breaks)
    console = Console()
    # A file or pipe has no width of its own: rows are kept whole there.
    if not console.is_terminal:
        console = Console(width=200)
    console.print(rich)


def markdown(table: Table, columns: Sequence[str] | None = None) -> str:
    """A table as GitHub Markdown, the named columns or all, with its title under it."""
    columns = table.headings if columns is None else columns
    chosen = [table.headings.index(name) for name in columns]
    numeric = [all(_numeric(line[k]) for line in table.lines) for k in chosen]
    out = [
        _line(table.headings[k] for k in chosen),
        _line("---:" if right else "---" for right in numeric),
        *(_line(line[k] for k in chosen) for line in table.lines),
        "",
        f"Measured on: {table.title}.",
    ]
    return "\n".join(out)


def _line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


def _numeric(text: str) -> bool:
    return all(c in "0123456789.,e+- to" for c in text)
