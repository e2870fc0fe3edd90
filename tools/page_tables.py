"""Tables as they are on pages: what matters is at the left, what is long is folded.

A page is as narrow as 390 pixels. The first columns of a table are visible there, and the others
after scrolling, with the first column fixed.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from rnnlab.records import Record
from rnnlab.registry import LABELS
from rnnlab.tables import Table, markdown

CELLS = ("mingru", "minlstm", "gru", "lstm", "rnn", "transformer", "mamba")
"""The order of the columns of cells: the minimal cells are visible without scrolling."""


def page_table(table: Table, finding: str = "") -> str:
    """Returns a table as Markdown, optional columns last, below a sentence with a finding."""
    required = [heading for heading in table.headings if heading not in table.optional]
    optional = [heading for heading in reversed(table.optional) if heading in table.headings]
    text = markdown(table, [*required, *optional])
    return f"{finding}\n\n{text}" if finding else text


def with_details(short: Table, full: Table, finding: str = "") -> str:
    """Returns a short table, and below it the full one, folded."""
    return f"{page_table(short, finding)}\n\n{folded(full)}"


def folded(table: Table) -> str:
    """Returns a table that is hidden until the reader opens it."""
    text, _, _ = page_table(table).rpartition("\n\n")  # its devices are those of the short table
    return details(f"All {len(table.lines)} measurements", text)


def details(summary: str, text: str) -> str:
    """Returns Markdown that is hidden until the reader opens it, on the site and on code hosts."""
    return f'<details markdown="1">\n<summary>{summary}</summary>\n\n{text}\n\n</details>'


def by_cell(
    records: Sequence[Record],
    title: str,
    heading: str,
    row: Callable[[Record], str | None],
    value: Callable[[Record], str],
) -> Table:
    """Returns a table with one column per cell, minimal cells first.

    Args:
      records: one per cell and table row.
      title: what was measured, and where.
      heading: heading of the first column.
      row: text of the first column; None omits a record.
      value: text of a cell's column.
    """
    rows: dict[str, dict[str, str]] = {}
    for record in records:
        if (name := row(record)) is not None:
            rows.setdefault(name, {})[record["cell"]] = value(record)
    cells = [cell for cell in CELLS if any(cell in found for found in rows.values())]
    lines = [(name, *(found.get(cell, "") for cell in cells)) for name, found in rows.items()]
    return Table(title, (heading, *map(LABELS.get, cells)), lines)


def pivoted(
    table: Table, rows: Sequence[str], column: str, value: str, first: Iterable[str] = ()
) -> Table:
    """Returns a table with one column per text of a column.

    Args:
      table: the long table.
      rows: headings of the columns that stay.
      column: heading of the column whose texts become headings.
      value: heading of the column with the values.
      first: texts of `column` that come first.
    """
    at = {heading: k for k, heading in enumerate(table.headings)}
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for line in table.lines:
        key = tuple(line[at[heading]] for heading in rows)
        found.setdefault(key, {})[line[at[column]]] = line[at[value]]
    known = dict.fromkeys(text for values in found.values() for text in values)
    columns = [*(text for text in first if text in known), *(t for t in known if t not in first)]
    lines = [(*key, *(values.get(text, "") for text in columns)) for key, values in found.items()]
    return Table(table.title, (*rows, *columns), lines)


def minimal_first(table: Table) -> Table:
    """Returns a table whose columns of cells are in the order of `CELLS`."""
    labels = [LABELS[cell] for cell in CELLS if LABELS[cell] in table.headings]
    others = [heading for heading in table.headings if heading not in labels]
    start = min(table.headings.index(label) for label in labels)
    order = [*others[:start], *labels, *others[start:]]
    at = [table.headings.index(heading) for heading in order]
    lines = [tuple(line[k] for k in at) for line in table.lines]
    return table._replace(headings=tuple(order), lines=lines)


def plain(text: str) -> str:
    """Returns a text of a table without the marks of Markdown, for a summary in HTML."""
    return re.sub(r"[`*]", "", text).replace("<", "&lt;")
