"""Records as tables: printed with rich, or as Markdown for a page."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rnnlab.records import Record


class Table(NamedTuple):
    """A table of texts.

    Attributes:
      title: printed above the table, or below it on a page.
      headings: one per column.
      lines: the table rows, one text per column.
      section_ends: indices of the table rows below which a rule is drawn.
    """

    title: str
    headings: tuple[str, ...]
    lines: list[tuple[str, ...]]
    section_ends: frozenset[int] = frozenset()


def device_label(record: Record) -> str:
    """The device that a record was measured on, and the version of JAX."""
    name = record["device"]
    if record["platform"] == "cpu":
        cores = record["cores"]
        name = f"{record['processor']}, {cores} core" + ("" if cores == 1 else "s")
    return f"{name}; jax {record['versions']['jax']}"


def device_labels(records: Sequence[Record]) -> str:
    """The distinct labels of the devices of several records."""
    return "; and ".join(dict.fromkeys(map(device_label, records)))


def format_ms(seconds: float) -> str:
    """A time in milliseconds, with three significant digits below 100 ms.

    >>> format_ms(0.01234), format_ms(1.5)
    ('12.3', '1,500')
    """
    return f"{1e3 * seconds:,.3g}" if seconds < 0.1 else f"{1e3 * seconds:,.0f}"


def format_ratio(ratio: float) -> str:
    """A ratio, with two decimals below 10.

    >>> format_ratio(1.234), format_ratio(12.34)
    ('1.23', '12')
    """
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def print_table(table: Table) -> None:
    """Prints a table, at the width of the terminal if there is one."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    # As `Text`, because names may contain rich's markup.
    rich = RichTable(title=Text(table.title), title_justify="left")
    for k, heading in enumerate(table.headings):
        numeric = all(_is_numeric(line[k]) for line in table.lines)
        rich.add_column(Text(heading), justify="right" if numeric else "left")
    for k, line in enumerate(table.lines):
        rich.add_row(*map(Text, line), end_section=k in table.section_ends)
    console = Console()
    # A file or pipe has no width: table rows are not wrapped there.
    if not console.is_terminal:
        console = Console(width=200)
    console.print(rich)


def markdown(table: Table, columns: Sequence[str] | None = None) -> str:
    """A table as GitHub Markdown, with its title below it.

    Args:
      table: the table.
      columns: headings of the columns to show; None shows all.
    """
    columns = table.headings if columns is None else columns
    chosen = [table.headings.index(name) for name in columns]
    numeric = [all(_is_numeric(line[k]) for line in table.lines) for k in chosen]
    out = [
        _markdown_row(table.headings[k] for k in chosen),
        _markdown_row("---:" if right else "---" for right in numeric),
        *(_markdown_row(line[k] for k in chosen) for line in table.lines),
        "",
        f"Measured on: {table.title}.",
    ]
    return "\n".join(out)


def _markdown_row(texts: Iterable[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _is_numeric(text: str) -> bool:
    return all(c in "0123456789.,e+- to" for c in text)
