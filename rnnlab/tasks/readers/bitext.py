"""Reader of parallel texts: lines of sentences and their translations, separated by a tab."""

import os
import unicodedata
from pathlib import Path

from rnnlab.tasks.readers.archive import read_members
from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.text import decode_text, read_text

NO_BREAK_SPACES = dict.fromkeys(map(ord, "\u00a0\u202f\u2007"), " ")


def read_bitext(
    path: str | os.PathLike, columns: tuple[int, int] = (0, 1)
) -> list[tuple[str, str]]:
    """Returns the pairs of sentences of a file, in its order.

    A line has at least as many columns as `columns` needs, separated by tabs, as the files of
    Tatoeba do; further columns are ignored, and so are empty lines. Sentences are normalized by
    `normalize_sentence`.

    Args:
      path: a text file, which may be compressed with xz, or a zip file that has one with tabs.
      columns: of the source and of the target, from 0.

    Raises:
      DataError: the file cannot be read, or a line lacks a column or a sentence; names the line.
      ValueError: columns are negative or equal.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "pairs.tsv")
    ...     _ = file.write_text("Go.\\tVa !\\tCC-BY\\nHi.\\tSalut.\\tCC-BY\\n")
    ...     read_bitext(file)
    [('Go.', 'Va !'), ('Hi.', 'Salut.')]
    """
    if len(columns) != 2 or min(columns) < 0 or columns[0] == columns[1]:
        raise ValueError(
            f"columns must be two different numbers >= 0, got {columns}; pass 0 and 1 for the "
            "first two"
        )
    path, pairs = Path(path), []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) <= max(columns):
            reason = f"must have {max(columns) + 1} columns separated by tabs, got {len(cells)}"
            shown = f"{reason}: {quote_cell(line)}; add a tab and the translation"
            raise data_error(path, shown, line=number)
        source, target = (normalize_sentence(cells[k]) for k in columns)
        if not (source and target):
            missing = columns[0] if not source else columns[1]
            reason = "must have a sentence, got an empty cell; write it or remove the line"
            raise data_error(path, reason, line=number, column=missing + 1)
        pairs.append((source, target))
    return pairs


def normalize_sentence(sentence: str) -> str:
    """Returns a sentence in composed Unicode (NFC), with plain and single spaces.

    French typography has no-break spaces of two widths before punctuation, which writers mix.

    >>> normalize_sentence("Cours\\u202f! ")
    'Cours !'
    """
    return " ".join(unicodedata.normalize("NFC", sentence).translate(NO_BREAK_SPACES).split())


def _text(path: Path) -> str:
    """The text of a file, or of the file with tabs in a zip file."""
    if path.suffix.lower() != ".zip":
        return read_text(path)
    for name, raw in read_members(path, ".txt", ".tsv").items():
        if b"\t" in raw.partition(b"\n")[0]:
            return decode_text(path / name, raw)
    raise data_error(path, "must have a .txt or .tsv file with tabs, got none; give another file")
