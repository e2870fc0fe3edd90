"""Result rows as tables: printed with rich, or as Markdown for a page."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rnnlab.records import Record


class Table(NamedTuple):
    """A table as text: a title, headings, rows, and the rows after which a rule is drawn."""

    title: str
    headings: tuple[str, ...]
    lines: list[tuple[str, ...]]
    breaks: frozenset[int]


def machine(row: Record) -> str:
    """The device that a row was measured on, and its JAX."""
    name = row["device"] if row["platform"] != "cpu" else f"{row['processor']}, {_cores(row)}"
    return f"{name}; jax {row['versions']['jax']}"


def machines(rows: Sequence[Record]) -> str:
    """All of them, each once."""
    return "; and ".join(dict.fromkeys(machine(row) for row in rows))


def _cores(row: Record) -> str:
    return f"{row['cores']} core" + ("" if row["cores"] == 1 else "s")


def milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.3g}" if seconds < 0.1 else f"{1e3 * seconds:,.0f}"


def times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def show(table: Table) -> None:
    """Prints a table."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    # As texts, for names may hold what rich takes for its own marks.
    rich = RichTable(title=Text(table.title), title_justify="left")
    for k, heading in enumerate(table.headings):
        numeric = all(_numeric(line[k]) for line in table.lines)
        rich.add_column(Text(heading), justify="right" if numeric else "left")
    for k, line in enumerate(table.lines):
        rich.add_row(*map(Text, line), end_section=k in table.breaks)
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
