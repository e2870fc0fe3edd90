"""Records as tables: printed with rich, or as Markdown for a page."""

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from rnnlab.console import make_console
from rnnlab.records import Record

MAX_TEXT_WIDTH = 100
"""Most characters of a line of sentences; longer lines are hard to read."""


class Table(NamedTuple):
    """A table of texts.

    Attributes:
      title: printed above the table, or below it on a page.
      headings: one per column.
      lines: the table rows, one text per column.
      section_ends: indices of the table rows below which a rule is drawn.
      optional: headings of the columns that a narrow terminal does not show, the first one first.
      source: what precedes the title below a table on a page.
    """

    title: str
    headings: tuple[str, ...]
    lines: list[tuple[str, ...]]
    section_ends: frozenset[int] = frozenset()
    optional: tuple[str, ...] = ()
    source: str = "Measured on"


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

    >>> format_ms(0.01234), format_ms(0.035), format_ms(1.5)
    ('12.3', '35.0', '1,500')
    """
    return f"{1e3 * seconds:#,.3g}" if seconds < 0.09995 else f"{1e3 * seconds:,.0f}"


def format_ratio(ratio: float) -> str:
    """A ratio, with two decimals below 10.

    >>> format_ratio(1.234), format_ratio(12.34)
    ('1.23', '12')
    """
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def format_range(values: Iterable[float], show: Callable[[float], str] = format_ratio) -> str:
    """The smallest and the largest of some values.

    >>> format_range([2.914, 1.95, 2.0]), format_range([3.0])
    ('1.95 to 2.91', '3.00')
    """
    shown = [show(value) for value in sorted(values)]
    return shown[0] if shown[0] == shown[-1] else f"{shown[0]} to {shown[-1]}"


_wide: ContextVar[bool] = ContextVar("wide", default=False)


@contextmanager
def wide_tables(wide: bool = True) -> Iterator[None]:
    """Prints every column of the tables inside it, whatever the width of the terminal."""
    token = _wide.set(wide)
    try:
        yield
    finally:
        _wide.reset(token)


def shows_everything() -> bool:
    """Returns whether tables are printed inside `wide_tables`."""
    return _wide.get()


def print_table(table: Table) -> None:
    """Prints a table as wide as the terminal.

    Optional columns that do not fit are omitted and named below the table. Numbers are never cut.
    A file or pipe has no width, and receives every column.
    """
    from rich.table import Table as RichTable
    from rich.text import Text

    console = make_console()
    columns = range(len(table.headings))
    if _wide.get() or not console.is_terminal:
        widths = [max(_column_width(table, k), len(table.headings[k])) for k in columns]
        console = make_console(width=max(console.width, 1 + sum(widths) + 3 * len(widths)))
    chosen = fitting_columns(table, console.width)
    folded_to = _heading_widths(table, chosen, console.width)
    # As `Text`, because names may contain rich's markup.
    rich = RichTable(title=Text(table.title), title_justify="left")
    for k in chosen:
        numeric = all(_is_numeric(line[k]) for line in table.lines)
        heading = Text(_folded(table.headings[k], folded_to[k]))
        justify = "right" if numeric else "left"
        rich.add_column(heading, justify=justify, no_wrap=numeric, overflow="fold")
    for number, line in enumerate(table.lines):
        end_section = number in table.section_ends
        rich.add_row(*(Text(line[k]) for k in chosen), end_section=end_section)
    console.print(rich)
    hidden = [table.headings[k] for k in columns if k not in chosen]
    if hidden:
        note = f"Not shown: {'; '.join(hidden)}. Add --wide to see everything."
        console.print(note, markup=False, highlight=False)


def print_text(text: str) -> None:
    """Prints sentences: in a terminal in lines up to `MAX_TEXT_WIDTH`, elsewhere in one line."""
    console = make_console(highlight=False)
    console.width = min(console.width, MAX_TEXT_WIDTH)
    console.print(text, markup=False, soft_wrap=not console.is_terminal)


def fitting_columns(table: Table, width: int) -> list[int]:
    """Returns the indices of the columns that fit into a width, in characters.

    Only optional columns are omitted, in their order.

    >>> headings, lines = ("name", "loss", "seconds"), [("gru", "1.25", "12")]
    >>> table = Table("", headings, lines, optional=("seconds",))
    >>> fitting_columns(table, 30), fitting_columns(table, 20)
    ([0, 1, 2], [0, 1])
    """
    chosen = list(range(len(table.headings)))
    for heading in table.optional:
        if _width(table, chosen) <= width:
            break
        chosen = [k for k in chosen if table.headings[k] != heading]
    return chosen


def _heading_widths(table: Table, columns: Sequence[int], width: int) -> dict[int, int]:
    """Returns the widths to which headings are folded: to as few lines as fit into a width."""
    most = max((len(heading.split()) for heading in table.headings), default=1)
    for count in range(1, most + 1):
        widths = {k: _width_of_lines(table, k, count) for k in columns}
        if 1 + sum(found + 3 for found in widths.values()) <= width:
            return widths
    return {k: _column_width(table, k) for k in columns}


def _width_of_lines(table: Table, k: int, count: int) -> int:
    """Returns the width of a column whose heading is folded to at most `count` lines."""
    width = _column_width(table, k)
    while _folded(table.headings[k], width).count("\n") >= count:
        width += 1
    return width


def _width(table: Table, columns: Iterable[int]) -> int:
    """The characters that columns take, with their rules and spaces."""
    return 1 + sum(_column_width(table, k) + 3 for k in columns)


def _column_width(table: Table, k: int) -> int:
    """The longest text of a column, whose heading may be folded between words."""
    words = table.headings[k].split() or [""]
    return max(map(len, (*words, *(line[k] for line in table.lines))))


def _folded(heading: str, width: int) -> str:
    """Returns a heading with line breaks between words, as narrow as its column."""
    return "\n".join(textwrap.wrap(heading, width, break_on_hyphens=False)) or heading


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
        f"{table.source}: {table.title}.",
    ]
    return "\n".join(out)


def _markdown_row(texts: Iterable[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _is_numeric(text: str) -> bool:
    return all(c in "0123456789.,e+-± to" for c in text)
