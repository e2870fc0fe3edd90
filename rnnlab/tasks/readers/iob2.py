"""Reader of words and their tags in columns: IOB2 and CoNLL files, one word per line."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.text import read_text
from rnnlab.tasks.tag_schemes import to_iob2

TAG = re.compile(r"O|[BIESLU]-[^\s#]+")
"""A tag: outside, or a prefix and the type of the entity."""

FIRST_NUMBER = re.compile(r"1(-\d+)?")
"""The number of the first word of a sentence in CoNLL-U, or of the token that has it."""

NOT_A_WORD = re.compile(r"\d+[-.]\d+")
"""The number of a token of several words, 3-4, or of an empty one, 3.1, in CoNLL-U."""

DOCUMENT = "-DOCSTART-"
"""The word of a line between documents in the files of CoNLL-2003."""

WORD = re.compile(r"\w+(?:[-'\u2019.,/]\w+)*|[^\w\s]")
"""A word of plain text, with its hyphens, or a punctuation mark."""


class Sentence(NamedTuple):
    """The words of a sentence, and their tags in IOB2; None where they are unknown."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None


def read_iob2(path: str | os.PathLike, *, labelled: bool = True) -> list[Sentence]:
    """Returns the sentences of a file with one word per line and an empty line between sentences.

    Columns are separated by tabs, or by spaces if there is no tab. The word is in the first column,
    or in the second one if the first one counts the words of a sentence, as in CoNLL-U. The tag is
    in the last column of which every cell is a tag. Lines that start with `#` and have another
    number of columns are comments. Tags in IOB1, IOBES or BILOU become IOB2. A file that is
    compressed with xz is decompressed.

    Args:
      path: the file.
      labelled: whether there must be tags.

    Raises:
      DataError: the file is not readable, a line has another number of columns, or there are no
        words or no tags. Messages count lines from 1.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.iob2")
    ...     _ = file.write_text("# text = Kjeld sover\\n1\\tKjeld\\tB-PER\\n2\\tsover\\tO\\n")
    ...     read_iob2(file)
    [Sentence(words=('Kjeld', 'sover'), tags=('B-PER', 'O'))]
    """
    path = Path(path)
    rows = _rows(path, read_text(path))
    cells = [cell for sentence in rows for cell in sentence]
    if not cells:
        raise data_error(path, "must have a word, got only comments and empty lines; add words")
    is_counted = all(
        [x[0] for x in sentence] == [str(k) for k in range(1, len(sentence) + 1)]
        for sentence in rows
    )
    word = 1 if is_counted and len(cells[0]) > 1 else 0
    tag = next(
        (
            k
            for k in reversed(range(word + 1, len(cells[0])))
            if all(TAG.fullmatch(x[k]) for x in cells)
        ),
        None,
    )
    if labelled and tag is None:
        raise data_error(
            path,
            "must have a column of tags such as O, B-PER and I-PER, got "
            f"{quote_cell(' '.join(cells[0]))} in its first row; add it as the last column",
        )
    return [
        Sentence(
            tuple(x[word] for x in sentence),
            None if tag is None else to_iob2([x[tag] for x in sentence]),
        )
        for sentence in rows
        if sentence[0][word] != DOCUMENT
    ]


def split_words(text: str) -> list[Sentence]:
    """Returns the words of a text without tags, with one sentence per line that is not empty.

    >>> split_words("Kjeld sover.\\n")
    [Sentence(words=('Kjeld', 'sover', '.'), tags=None)]
    """
    lines = (tuple(WORD.findall(line)) for line in text.splitlines())
    return [Sentence(words, None) for words in lines if words]


def read_sentences(path: str | os.PathLike) -> list[Sentence]:
    """Returns the sentences of a plain text (`.txt`), one per line, or those of `read_iob2`.

    Raises:
      DataError: the file is not readable or has no word.
    """
    if Path(path).suffix.lower() != ".txt":
        return read_iob2(path, labelled=False)
    found = split_words(read_text(path))
    if not found:
        raise data_error(Path(path), "must have a word, got none; add a sentence")
    return found


def _rows(path: Path, text: str) -> list[list[list[str]]]:
    """The cells of each word of each sentence."""
    lines = text.split("\n")
    separator = "\t" if any("\t" in line for line in lines if not line.startswith("#")) else None
    sentences: list[list[list[str]]] = [[]]
    first = _first_row(lines, separator)
    count, is_counted = len(first), len(first) > 1 and FIRST_NUMBER.fullmatch(first[0])
    for number, line in enumerate(lines, 1):
        row = line.split(separator)
        if not line.strip():
            sentences.append([])
        elif line.startswith("#") and (len(row) != count or _is_comment(sentences[-1], row)):
            continue
        elif len(row) != count:
            raise data_error(
                path,
                f"must have {count} columns as the lines before it, got {len(row)}: "
                f"{quote_cell(line)}; correct it",
                line=number,
            )
        elif not (is_counted and NOT_A_WORD.fullmatch(row[0])):
            sentences[-1].append([cell.strip() for cell in row])
    return [sentence for sentence in sentences if sentence]


def _first_row(lines: Sequence[str], separator: str | None) -> list[str]:
    rows = (line.split(separator) for line in lines if line.strip() and not line.startswith("#"))
    return next(rows, [""])


def _is_comment(before: Sequence[Sequence[str]], row: Sequence[str]) -> bool:
    """Whether a line that starts with `#` is one above a sentence, not the word `#`."""
    return not before and row[0] == "#" and not TAG.fullmatch(row[-1])
